"""The client and `slimvec train` against a real server that is also killed."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from signal import SIGKILL, SIGTERM
from typing import Any

import numpy as np
import pytest

from app.client import (
    Acknowledgement,
    AsyncClient,
    Batch,
    Client,
    Interrupted,
    Refused,
    Retries,
    Unreachable,
    Window,
)
from app.errors import Conflict, NotFound, PreconditionFailed, StepRejected, Unacceptable
from app.types import FloatArray, StepAnswer
from tests.e2e.conftest import DEMO
from tests.e2e.process import ServerProcess, plain_environment
from tests.server import RunningServer, declare

CONFIG = declare(384, 16, optimizer={"type": "AdamW", "lr": 1e-3})
NO_WAIT = Retries(total_s=0)


def slices(rows: FloatArray, size: int) -> list[FloatArray]:
    return [rows[begin : begin + size] for begin in range(0, len(rows), size)]


@pytest.fixture
def small(server: RunningServer, new_model: Callable[[], str]) -> Any:
    with Client(server.url, new_model()) as client:
        yield client


def rows(count: int = 4, width: int = 8) -> FloatArray:
    return np.random.default_rng(0).normal(size=(count, width)).astype(np.float32)


def test_a_reduced_array_is_that_of_the_weights_it_names(small: Client) -> None:
    reduced = small.reduce(rows())
    again = small.reduce(rows(), version=1, require_version=1)
    assert reduced.array.shape == (4, 3)
    assert (reduced.stamp.version, reduced.stamp.digest) == (1, small.describe().digest)
    np.testing.assert_array_equal(reduced.array, again.array)
    units = small.reduce(rows()[0], normalize=True).array
    np.testing.assert_allclose(np.linalg.norm(units), 1, rtol=1e-6)


def test_a_step_makes_a_version_and_is_applied_once_a_key(small: Client) -> None:
    first = small.train_step(rows(), key="mine")
    assert small.train_step(rows(), key="mine") == first
    assert small.train_step(rows(), if_version=2).version == 3
    assert small.describe().step == 2


def test_targets_weights_and_a_loss_reach_the_trainer(small: Client) -> None:
    answer = small.train_step(
        rows(), targets=np.zeros((4, 3)), sample_weights=[1, 0, 0, 0], loss="mse"
    )
    expected = np.mean(small.reduce(rows()[0], version=1).array ** 2)
    assert answer.loss == pytest.approx(expected, rel=1e-5)


def test_the_servers_errors_are_raised_as_they_were(small: Client) -> None:
    with pytest.raises(Unacceptable) as narrow:
        small.reduce(rows(width=5))
    assert (narrow.value.code, narrow.value.pointer) == ("shape_mismatch", "/hidden_states")
    with pytest.raises(NotFound, match="version 99 of model"):
        small.reduce(rows(), version=99)
    with pytest.raises(PreconditionFailed):
        small.train_step(rows(), if_version=99)
    with pytest.raises(StepRejected):
        small.train_step(rows() * 1e25, loss="reconstruction")
    small.train_step(rows(), key="mine")
    with pytest.raises(Unacceptable, match="key") as reused:
        small.train_step(rows() + 1, key="mine")
    assert reused.value.code == "idempotency_key_reused"


def test_a_model_from_its_creation_to_its_end(server: RunningServer) -> None:
    with Client(server.url, "from-the-client") as client:
        created = client.create(declare(8, 3))
        assert created in client.models()
        with pytest.raises(Conflict):
            client.create(declare(8, 3))
        client.delete()
        with pytest.raises(NotFound):
            client.describe()


def test_versions_are_promoted_and_rolled_back_to(small: Client) -> None:
    first = small.reduce(rows()).array
    small.train_step(rows())
    assert small.checkpoint() == 2
    assert [version.version for version in small.versions()] == [1, 2]
    assert small.version(2).step == 1
    assert small.promote(1).serving == 1
    np.testing.assert_array_equal(small.reduce(rows()).array, first)
    assert small.promote("live").serving == "live"
    back = small.rollback(1, if_version=2)
    assert (back.kind, back.version, back.step) == ("rollback", 3, 0)
    np.testing.assert_array_equal(small.reduce(rows()).array, first)
    assert small.state().version == 3


def test_the_learning_rate_is_set_at_the_version_that_was_meant(small: Client) -> None:
    assert small.configure(lr=0.5).learning_rate == 0.5
    assert small.train_step(rows()).learning_rate == 0.5
    with pytest.raises(PreconditionFailed):
        small.configure(lr=[0.25], if_version=1)
    assert small.configure(lr=[0.25], if_version=2).learning_rate == 0.25


def test_without_a_name_the_client_means_the_servers_default_model(server: RunningServer) -> None:
    with Client(server.url) as client:
        assert client.reduce(rows()).stamp.model == client.describe().model == "small"


def test_the_async_client_does_the_same(server: RunningServer, new_model: Any) -> None:
    async def use(model: str) -> tuple[StepAnswer, int, list[Any]]:
        async with AsyncClient(server.url, model) as client:
            steps = await asyncio.gather(*(client.train_step(rows()) for _ in range(8)))
            items = [item async for item in client.train_stream([rows()] * 3)]
            reduced = await client.reduce(rows())
            return max(steps, key=lambda step: step.version), reduced.stamp.version, items

    last, version, items = asyncio.run(use(new_model()))
    assert (last.version, version) == (9, 12)
    assert (items[-1].ack, items[-1].version) == (3, 12)


def test_a_stream_trains_as_single_steps_do(server: RunningServer, new_model: Any) -> None:
    todo = [Batch(hidden_states=rows(), targets=rows(width=3) * n) for n in range(1, 41)]
    with Client(server.url, new_model()) as one, Client(server.url, new_model()) as other:
        items = list(one.train_stream(todo, loss="mse", window=Window(records=7)))
        for batch in todo:
            last = other.train_step(batch.hidden_states, targets=batch.targets, loss="mse")
        states = [client.state() for client in (one, other)]
    assert isinstance(items[-1], Acknowledgement)
    assert (items[-1].ack, items[-1].version, items[-1].loss) == (40, 41, last.loss)
    assert states[0].state_digest == states[1].state_digest


def test_a_refused_record_stops_the_stream_or_is_skipped(small: Client) -> None:
    todo = [rows(), rows(width=5), rows()]
    items = small.train_stream(todo)
    with pytest.raises(Unacceptable, match="expected width 8"):
        seen = [next(items) for _ in range(4)]
    assert small.describe().step == 1
    seen = list(small.train_stream(todo, on_error="skip"))
    refused = [item for item in seen if isinstance(item, Refused)]
    assert [(item.record, item.error.code) for item in refused] == [(2, "shape_mismatch")]
    assert small.describe().step == 3


def test_the_same_stream_again_applies_nothing_twice(small: Client) -> None:
    batches = [rows() * n for n in range(1, 10)]
    *_, first = small.train_stream(batches, key="import-1")
    digest = small.state().state_digest
    *_, again = small.train_stream(batches, key="import-1")
    assert isinstance(first, Acknowledgement)
    assert isinstance(again, Acknowledgement)
    assert again == replace(first, records_per_s=again.records_per_s)
    assert small.state().state_digest == digest


def test_a_stream_goes_through_kills_without_a_lost_or_doubled_step(
    models_dir: Path, stream: FloatArray
) -> None:
    todo = slices(stream, 8) * 2
    port = free_port()
    flags = ("--port", str(port))
    url = f"http://127.0.0.1:{port}"
    with Client(url, "killed") as killed, Client(url, "whole") as whole:
        with ServerProcess(models_dir, *flags) as server:
            for client in (killed, whole):
                client.create(CONFIG)
            for batch in todo:
                whole.train_step(batch)
            items = killed.train_stream(todo, window=Window(records=10))
            take_until(items, 15)
            server.stop(SIGKILL)
        with ServerProcess(models_dir, *flags) as server:
            take_until(items, 40)
            assert server.stop(SIGTERM) == 0
        with ServerProcess(models_dir, *flags):
            last = [*items][-1]
            states = [killed.state(), whole.state()]
    assert isinstance(last, Acknowledgement)
    assert (last.ack, last.step) == (len(todo), len(todo))
    assert states[0].state_digest == states[1].state_digest


def test_slimvec_train_survives_a_kill_of_the_server(
    models_dir: Path, stream: FloatArray, tmp_path: Path
) -> None:
    np.save(tmp_path / "rows.npy", stream)
    port = free_port()
    command = ["train", str(tmp_path / "rows.npy"), "--url", f"http://127.0.0.1:{port}"]
    command += ["--batch-size", "2", "--epochs", "2", "--retry-for", "90"]
    with ServerProcess(models_dir, "--port", str(port)) as server:
        training = start_training(*command)
        with Client(f"http://127.0.0.1:{port}", DEMO) as client:
            while client.describe().version < 20:
                pass
        server.stop(SIGKILL)
    with ServerProcess(models_dir, "--port", str(port)) as server:
        output, errors = training.communicate(timeout=90)
        step = server.client.get(f"/models/{DEMO}").json()["version"] - 1
    assert (training.returncode, errors) == (0, "")
    assert output.startswith("576 of 576 rows, ")
    assert output.endswith("version 289; 0 records refused\n")
    assert step == 288


def test_a_server_that_stays_away_is_reported(models_dir: Path, stream: FloatArray) -> None:
    with ServerProcess(models_dir) as server:
        url = str(server.client.base_url)
        with Client(url, DEMO, retries=NO_WAIT) as client:
            items = client.train_stream(slices(stream, 8), window=Window(records=4))
            take_until(items, 4)
            server.stop(SIGKILL)
            with pytest.raises((Unreachable, Interrupted)):
                take_until(items, 36)


def take_until(items: Any, ack: int) -> None:
    """Take acknowledgements up to this one."""
    while next(items).ack < ack:
        pass


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def start_training(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "app", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=plain_environment(),
    )
