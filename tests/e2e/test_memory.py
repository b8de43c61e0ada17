"""A server that runs out of memory for real: its address space is bounded while it serves."""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest

from app.codecs import pack
from tests.e2e.process import ServerProcess
from tests.server import declare

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="bounds another process")

WIDTH = 64
# 40 MiB of float16 in the body, 80 MiB as float32, 80 MiB of reduced vectors: each more than malloc
# ever keeps, so that it is asked of the system. There is room for the body and its vectors (120),
# and then not for these vectors and the reduced ones, neither whole nor in halves (160).
ROWS = (40 << 20) // (2 * WIDTH)
SPARE_BYTES = 140 << 20


@contextmanager
def bounded(pid: int) -> Iterator[None]:
    """Little more address space than the process has now."""
    _, most = resource.prlimit(pid, resource.RLIMIT_AS)
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[0])
    size = pages * resource.getpagesize() + SPARE_BYTES
    resource.prlimit(pid, resource.RLIMIT_AS, (size, most))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_AS, (most, most))


def post(client: httpx.Client, verb: str, rows: int) -> httpx.Response:
    body = pack({"hidden_states": np.ones((rows, WIDTH), np.float16)}, {})
    headers = {"content-type": "application/x-safetensors"}
    return client.post(f"/models/square/{verb}", content=body, headers=headers)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that has made a large product and a step before: its threads are there."""
    folder = tmp_path_factory.mktemp("models")
    with ServerProcess(folder, "--max-rows", str(ROWS)) as running:
        config = declare(WIDTH, WIDTH, loss="reconstruction")
        running.client.put("/models/square", json=config).raise_for_status()
        post(running.client, "reduce", ROWS).raise_for_status()
        post(running.client, "train-step", 8).raise_for_status()
        yield running


def test_a_reduce_without_memory_is_refused_and_the_server_lives_on(server: ServerProcess) -> None:
    client = server.client
    with bounded(server.process.pid):
        refused = [post(client, "reduce", ROWS) for _ in range(3)]
        ready = client.get("/health/ready")
        small = post(client, "reduce", 1)
    again = client.get("/health/ready"), post(client, "reduce", ROWS)
    assert [answer.json()["code"] for answer in refused] == ["out_of_memory"] * 3
    assert (ready.status_code, ready.json()["status"]) == (503, "out_of_memory")
    assert small.status_code == 200
    assert [answer.status_code for answer in again] == [200, 200]


def test_a_train_step_without_memory_is_refused_and_nothing_changes(server: ServerProcess) -> None:
    client = server.client
    before = client.get("/models/square/state").json()
    with bounded(server.process.pid):
        refused = post(client, "train-step", ROWS)
    assert (refused.status_code, refused.json()["code"]) == (503, "out_of_memory")
    assert client.get("/models/square/state").json() == before
    assert post(client, "train-step", 8).status_code == 200
