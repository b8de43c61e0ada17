"""Whoever has an answer can read the version that it names, and that version stays what it is."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future

import numpy as np
import pytest

from app.config import parse_config
from app.engine import Engine, Job, LiveModel, choose_device
from app.engine.multiplier import HostMultiplier
from app.settings import Settings
from app.types import Batch, ChangeAnswer, TrainStep

LAYER = {"type": "QRReduction", "n_components": 2}
# Each step of a plain model changes its weights; eigenvectors of the same rows would stay.
CONFIG = parse_config({"input_size": 4, "layers": [LAYER], "recipe": "plain"})
ROWS = np.eye(4, dtype=np.float32)


@pytest.fixture
def live() -> Iterator[LiveModel]:
    engine = Engine(choose_device("cpu"), Settings())
    live = engine.prepare("m", engine.initial(CONFIG))
    live.start(lambda changes: None, queue_size=8, group_size=4)
    yield live
    assert live.close(timeout_s=10)
    engine.close(1)


def make_job() -> Job:
    return Job(TrainStep(batch=Batch(hidden_states=ROWS)))


def test_a_version_is_published_before_its_answer(live: LiveModel) -> None:
    seen = []

    def look(answer: Future[ChangeAnswer]) -> None:
        seen.append((answer.result().version, live.snapshot.stamp.version))

    job = make_job()
    job.answer.add_done_callback(look)
    live.submit(job)
    live.settled().result()
    assert seen == [(2, 2)]


def test_a_published_version_does_not_change_while_the_trainer_learns(live: LiveModel) -> None:
    live.submit(make_job()).result()
    published = live.snapshot
    before = HostMultiplier().multiply(published, [ROWS])
    live.submit(make_job()).result()
    assert (published.stamp.version, live.snapshot.stamp.version) == (2, 3)
    np.testing.assert_array_equal(HostMultiplier().multiply(published, [ROWS]), before)
    assert not np.array_equal(HostMultiplier().multiply(live.snapshot, [ROWS]), before)
