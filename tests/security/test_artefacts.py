"""Rows 99, 101 and 110: one name and many clients, spoilt folders, uploads that break off."""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from threading import Barrier
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest

from tests.conftest import MODELS, ServerFactory
from tests.security.catalogue.request import SAFETENSORS, declared, nested, row_of, safetensors
from tests.security.postcondition import nothing_remains
from tests.server import RunningServer, create, serving

_WEIGHTS = safetensors({"Q_reduced": declared(np.eye(3, 8, dtype=np.float32))})
_ROWS = nested(row_of())
_JSON = {"content-type": "application/json"}
_NUM_CLIENTS, _NUM_QUESTIONS = 8, 125


@pytest.fixture
def contested(server: RunningServer) -> Iterator[str]:
    """A name that several clients make and delete."""
    yield "contested"
    server.http.delete("/models/contested")


def test_row_99_whatever_happens_at_once_each_answer_is_one_of_some_order(
    server: RunningServer, contested: str, caplog: pytest.LogCaptureFixture
) -> None:
    with nothing_remains(server, caplog), ThreadPoolExecutor(_NUM_CLIENTS) as pool:
        told = pool.map(lambda seed: _ask_at_random(server, contested, seed), range(_NUM_CLIENTS))
        answers = sum(told, Counter[tuple[str, int]]())
        server.http.delete(f"/models/{contested}")
    assert answers.keys() <= {
        *(("PUT", status) for status in (201, 409)),
        *(("DELETE", status) for status in (204, 404)),
        *(("reduce", status) for status in (200, 404)),
        *(("train-step", status) for status in (200, 404)),
    }
    # Each model is made once and deleted once, and the last one was deleted here.
    assert answers["PUT", 201] - answers["DELETE", 204] in (0, 1)
    assert answers["PUT", 201] > 1
    assert server.http.get(f"/models/{contested}").status_code == 404


def _ask_at_random(server: RunningServer, name: str, seed: int) -> Counter[tuple[str, int]]:
    random, answers = Random(seed), Counter[tuple[str, int]]()
    with httpx.Client(base_url=server.url, timeout=60) as http:
        for _ in range(_NUM_QUESTIONS):
            verb = random.choices(("PUT", "DELETE", "reduce", "train-step"), (2, 2, 5, 4))[0]
            if verb == "PUT":
                answer = http.put(f"/models/{name}", json=MODELS["small"])
            elif verb == "DELETE":
                answer = http.delete(f"/models/{name}")
            else:
                answer = http.post(f"/models/{name}/{verb}", content=_ROWS, headers=_JSON)
            answers[verb, answer.status_code] += 1
    return answers


@pytest.mark.parametrize("part", [0, 7, 8, 40, len(_WEIGHTS) - 1])
def test_row_110_an_upload_that_breaks_off_leaves_nothing(
    server: RunningServer, part: int, caplog: pytest.LogCaptureFixture
) -> None:
    address = urlsplit(server.url)
    head = (
        f"PUT /models/broken HTTP/1.1\r\nHost: {address.netloc}\r\n"
        f"Content-Type: {SAFETENSORS}\r\nContent-Length: {len(_WEIGHTS)}\r\n\r\n"
    )
    before = _files(server)
    with nothing_remains(server, caplog):
        with socket.create_connection((address.hostname, address.port)) as connection:
            connection.sendall(head.encode() + _WEIGHTS[:part])
        assert server.http.get("/models/broken").status_code == 404
    assert _files(server) == before


def test_row_110_of_two_uploads_of_one_name_one_is_made_and_one_is_told(
    server: RunningServer, contested: str
) -> None:
    start = Barrier(2)

    def upload(_: int) -> int:
        with httpx.Client(base_url=server.url, timeout=60) as http:
            start.wait()
            headers = {"content-type": SAFETENSORS}
            path = f"/models/{contested}"
            return http.put(path, content=_WEIGHTS, headers=headers).status_code

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(upload, range(2))) == [201, 409]


def test_row_110_what_an_upload_left_on_the_disk_is_gone_after_a_start(
    start_server: ServerFactory, tmp_path: Path
) -> None:
    partial = tmp_path / "models" / "new" / ".partial-0123456789abcdef"
    partial.mkdir(parents=True)
    (partial / "model.safetensors").write_bytes(_WEIGHTS[:40])
    server = start_server()
    assert not partial.exists()
    assert server.http.get("/models/new").status_code == 404


@pytest.mark.parametrize("name", ["linked", "fifo", "folder", "empty", "unreadable"])
def test_row_101_a_start_passes_over_what_is_no_weights_file(
    start_server: ServerFactory, tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    if name == "unreadable" and os.geteuid() == 0:
        pytest.skip("root reads everything")
    with serving(tmp_path / "models") as server:
        create(server, "small", MODELS["small"])
        create(server, name, MODELS["small"])
    file = tmp_path / "models" / name / "1" / "model.safetensors"
    _spoil(file, name, outside=tmp_path / "outside")
    listed = start_server().http.get("/models").json()
    assert [model["model"] for model in listed["models"]] == ["small"]
    assert listed["not_loaded"].keys() == {name}
    assert "model.safetensors" in caplog.text


def _spoil(file: Path, how: str, *, outside: Path) -> None:
    content = file.read_bytes()
    file.unlink()
    match how:
        case "linked":
            outside.write_bytes(content)
            file.symlink_to(outside)
        case "fifo":
            os.mkfifo(file)
        case "folder":
            file.mkdir()
        case "empty":
            file.touch()
        case "unreadable":
            file.write_bytes(content)
            file.chmod(0)


def _files(server: RunningServer) -> list[str]:
    return sorted(str(path) for path in server.models_dir.iterdir())
