"""Statement 6: every answer is the product with the weights of the one version that it names."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pytest

from app.config import parse_config
from app.training.trainer import Trainer
from app.types import Batch, FloatArray, TrainStep
from tests.crash.scale import report, scaled
from tests.e2e.process import ServerProcess
from tests.e2e.requests import reduce, train
from tests.server import declare

READERS = 4
ROWS_A_READ = 256
# SGD moves every weight a little at every step, in a direction of that step's own.
CONFIG = declare(64, 16, optimizer={"type": "SGD", "lr": 0.05}, loss="reconstruction")

# A float32 sum of 64 products in another order is below this; a step changes a row by more.
TOLERANCE = 1e-5


@dataclass(frozen=True, slots=True)
class Read:
    """One answer: what was reduced, and the version that it names."""

    rows: FloatArray
    reduced: FloatArray
    version: int


def batch(number: int) -> FloatArray:
    rng = np.random.default_rng(number)
    rows: FloatArray = rng.standard_normal((ROWS_A_READ, 64), dtype=np.float32)
    return rows


def test_no_answer_mixes_versions_while_the_trainer_runs(tmp_path: Path) -> None:
    reads_each = scaled(small=250, full=1_000_000 // (READERS * ROWS_A_READ) + 1)
    with (
        ServerProcess(tmp_path / "models", "--default-model", "m") as server,
        ThreadPoolExecutor(READERS + 1) as pool,
    ):
        server.client.put("/models/m", json=CONFIG).raise_for_status()
        reading: Future[None] = Future()
        trained = pool.submit(train_while, reading, server)
        readers = [pool.submit(read, server, seed, reads_each) for seed in range(READERS)]
        seen = [reader.result() for reader in readers]
        reading.set_result(None)
        weights = weights_of(trained.result())
    mixed = sum(is_mixed(answer, weights) for answers in seen for answer in answers)
    versions = {answer.version for answers in seen for answer in answers}
    rows = READERS * reads_each * ROWS_A_READ
    report(f"torn reads: {rows} rows, {len(versions)} versions seen, {mixed} mixed")
    assert len(versions) > reads_each // 25
    assert all(is_rising([answer.version for answer in answers]) for answers in seen)
    assert mixed == 0


@pytest.mark.parametrize("torn_rows", [1, ROWS_A_READ // 2])
def test_control_an_answer_of_two_versions_is_seen(torn_rows: int) -> None:
    weights = weights_of(3)
    rows = batch(99)
    reduced = rows @ weights[3].T
    assert not is_mixed(Read(rows, reduced, 3), weights)
    reduced[:torn_rows] = rows[:torn_rows] @ weights[4].T
    assert is_mixed(Read(rows, reduced, 3), weights)


def test_control_an_answer_under_another_version_is_seen() -> None:
    weights = weights_of(3)
    rows = batch(99)
    assert is_mixed(Read(rows, rows @ weights[4].T, 3), weights)


def read(server: ServerProcess, seed: int, times: int) -> list[Read]:
    """What one reader is answered, over one connection."""
    rows = batch(10_000_000 + seed)
    with httpx.Client(base_url=server.client.base_url, timeout=60) as client:
        return [Read(rows, *reduce(client, rows)) for _ in range(times)]


def train_while(reading: Future[None], server: ServerProcess) -> int:
    """Train as fast as it goes; the number of steps."""
    steps = 0
    while not reading.done():
        steps += 1
        train(server.client, hidden_states=batch(steps))
    return steps


def weights_of(steps: int) -> Mapping[int, FloatArray]:
    """The weights of every version, from a trainer that nobody reads from."""
    trainer = Trainer(parse_config(CONFIG))
    weights = {1: trainer.serving()["Q_reduced"].numpy()}
    for number in range(1, steps + 1):
        trainer.train(TrainStep(batch=Batch(hidden_states=batch(number))))
        weights[trainer.version] = trainer.serving()["Q_reduced"].numpy()
    return weights


def is_mixed(answer: Read, weights: Mapping[int, FloatArray]) -> bool:
    """Whether any row is not the product with the named version's weights."""
    expected = answer.rows @ weights[answer.version].T
    return bool(np.abs(answer.reduced - expected).max() > TOLERANCE)


def is_rising(versions: list[int]) -> bool:
    return versions == sorted(versions)
