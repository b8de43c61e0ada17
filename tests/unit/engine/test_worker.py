from __future__ import annotations

from collections.abc import Iterator, Sequence
from threading import Event

import numpy as np
import pytest
import torch

from app.config import parse_config
from app.engine.snapshot import Snapshot
from app.engine.worker import TrainerWorker
from app.errors import QueueFull, SlimvecError, StorageFull, Unacceptable, Unavailable
from app.training import Savepoint, Trainer
from app.types import Batch, Change, TrainStep

CONFIG = parse_config(
    {"input_size": 4, "layers": [{"type": "QRReduction", "n_components": 2}], "loss": "similarity"}
)
GOOD = TrainStep(batch=Batch(hidden_states=np.eye(4, dtype=np.float32)))


def no_memory(_: Savepoint) -> None:
    raise MemoryError


WITHOUT_TARGETS = TrainStep(
    batch=GOOD.batch,
    loss=parse_config({"input_size": 1, "layers": [{"type": "x"}], "loss": "mse"}).loss,
)


class Bench:
    """A worker whose commits can be held, failed and watched."""

    def __init__(self) -> None:
        self.trainer = Trainer(CONFIG)
        self.gate = Event()
        self.gate.set()
        self.log: list[object] = []
        self.failure: Exception | None = None
        self.snapshots_left = 100
        self.worker = TrainerWorker(
            "m",
            self.trainer,
            take_snapshot=self.take_snapshot,
            publish=lambda snapshot: self.log.append(("publish", snapshot.stamp.version)),
            commit=self.commit,
            queue_size=8,
            group_size=3,
        )

    def take_snapshot(self, trainer: Trainer) -> Snapshot:
        if not self.snapshots_left:
            raise MemoryError
        self.snapshots_left -= 1
        weights = trainer.serving()
        return Snapshot("m", trainer.version, trainer.step, CONFIG, weights, torch.float32)

    def commit(self, model: str, changes: Sequence[Change]) -> None:
        self.log.append(("commit", [change.answer.version for change in changes]))
        self.gate.wait()
        if self.failure is not None:
            raise self.failure

    def hold(self) -> None:
        """Let one step wait inside its commit."""
        self.gate.clear()
        self.first = self.worker.submit(GOOD)
        while not self.log:
            pass


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.gate.set()
    assert bench.worker.close(timeout_s=10)


def test_a_step_is_committed_then_published_then_answered(bench: Bench) -> None:
    answer = bench.worker.submit(GOOD).result()
    assert bench.log == [("commit", [2]), ("publish", 2)]
    assert (answer.version, answer.step, answer.rows, answer.update) == (2, 1, 4, "gradient")


def test_steps_that_wait_together_share_a_commit_up_to_the_group_size(bench: Bench) -> None:
    bench.hold()
    answers = [bench.worker.submit(GOOD) for _ in range(4)]
    bench.gate.set()
    assert [answer.result().version for answer in answers] == [3, 4, 5, 6]
    assert bench.log == [
        *[("commit", [2]), ("publish", 2)],
        *[("commit", [3, 4, 5]), ("publish", 5)],
        *[("commit", [6]), ("publish", 6)],
    ]


def test_a_failed_commit_undoes_its_group_and_publishes_nothing(bench: Bench) -> None:
    before = bench.worker.ask(Trainer.state).result()
    bench.failure = StorageFull("storage_full", "no room")
    with pytest.raises(StorageFull):
        bench.worker.submit(GOOD).result()
    after = bench.worker.ask(Trainer.state).result()
    assert ("publish", 2) not in bench.log
    assert (after.version, after.step) == (1, 0)
    np.testing.assert_array_equal(after.arrays["layer.Q_reduced"], before.arrays["layer.Q_reduced"])
    bench.failure = None
    assert bench.worker.submit(GOOD).result().version == 2


def test_a_snapshot_that_cannot_be_made_is_an_answer_for_the_whole_group(bench: Bench) -> None:
    bench.hold()
    group = [bench.worker.submit(GOOD) for _ in range(3)]
    bench.snapshots_left = 1  # after the one of the step that is held
    bench.gate.set()
    for step in group:
        with pytest.raises(Unavailable, match="not enough memory"):
            step.result(timeout=10)
    bench.snapshots_left = 100
    assert bench.worker.submit(GOOD).result().version == 3


def test_a_savepoint_that_cannot_be_taken_is_an_answer_and_the_thread_lives_on(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Savepoint, "take", no_memory)
        with pytest.raises(Unavailable, match="not enough memory"):
            bench.worker.submit(GOOD).result(timeout=10)
    assert bench.worker.submit(GOOD).result(timeout=10).version == 2


def test_questions_take_no_room_from_the_steps(bench: Bench) -> None:
    bench.hold()
    for _ in range(20):
        bench.worker.ask(Trainer.state)
    waiting = bench.worker.submit(GOOD)
    bench.gate.set()
    assert waiting.result().version == 3


def test_a_refused_step_leaves_its_neighbours_in_the_group_alone(bench: Bench) -> None:
    bench.hold()
    refused, good = bench.worker.submit(WITHOUT_TARGETS), bench.worker.submit(GOOD)
    bench.gate.set()
    with pytest.raises(Unacceptable, match="needs targets"):
        refused.result()
    assert good.result().version == 3


def test_a_step_cancelled_while_it_waits_is_not_applied(bench: Bench) -> None:
    bench.hold()
    gone, good = bench.worker.submit(GOOD), bench.worker.submit(GOOD)
    assert gone.cancel()
    bench.gate.set()
    assert good.result().version == 3


def test_a_full_queue_refuses_and_keeps_what_it_accepted(bench: Bench) -> None:
    bench.hold()
    accepted = [bench.worker.submit(GOOD) for _ in range(8)]
    with pytest.raises(QueueFull, match="8 train steps are waiting"):
        bench.worker.submit(GOOD)
    bench.gate.set()
    assert accepted[-1].result().version == 10


def test_a_question_is_answered_between_groups(bench: Bench) -> None:
    bench.hold()
    asked = bench.worker.ask(lambda trainer: trainer.version)
    later = bench.worker.submit(GOOD)
    bench.gate.set()
    assert asked.result() == 2
    assert later.result().version == 3


def test_closing_finishes_what_was_accepted_and_refuses_the_rest(bench: Bench) -> None:
    accepted = [bench.worker.submit(GOOD) for _ in range(5)]
    assert bench.worker.close(timeout_s=10)
    assert [answer.result().version for answer in accepted] == [2, 3, 4, 5, 6]
    with pytest.raises(Unavailable, match="shutting down"):
        bench.worker.submit(GOOD)


def test_a_fault_of_ours_is_logged_and_told_without_its_text(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.failure = ValueError("a secret of the library")
    with pytest.raises(SlimvecError, match="fault of the server") as told:
        bench.worker.submit(GOOD).result()
    assert told.value.code == "internal"
    assert "a secret of the library" in caplog.text


def test_memory_that_cannot_be_had_is_said_as_such(bench: Bench) -> None:
    bench.failure = RuntimeError("DefaultCPUAllocator: can't allocate memory")
    with pytest.raises(Unavailable) as told:
        bench.worker.submit(GOOD).result()
    assert told.value.code == "out_of_memory"
