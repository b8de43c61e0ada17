from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from threading import Event

import numpy as np
import pytest
import torch

from app.config import parse_config
from app.engine.jobs import Job, Line
from app.engine.publication import Publication
from app.engine.snapshot import Snapshot
from app.engine.worker import TrainerWorker
from app.errors import (
    OutcomeUnknown,
    QueueFull,
    SlimvecError,
    StorageFull,
    Unacceptable,
    Unavailable,
)
from app.training import Savepoint, Trainer
from app.types import (
    Batch,
    Change,
    ChangeAnswer,
    ChangeRequest,
    Configure,
    Serve,
    StepAnswer,
    TrainStep,
)

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
        self.on_commit: Callable[[Sequence[Change]], None] = lambda _: None
        self.snapshots_left = 101
        first = self.take_snapshot(self.trainer)
        self.worker = TrainerWorker(
            "m",
            self.trainer,
            Publication(first, first),
            "live",
            follow=self.follow,
            publish=lambda given: self.log.append(("publish", given.newest.stamp.version)),
            commit=self.commit,
            queue_size=8,
            group_size=3,
        )

    def follow(self, trainer: Trainer, before: Publication) -> Publication:
        if trainer.version == before.newest.stamp.version:
            return before
        newest = self.take_snapshot(trainer)
        return Publication(newest, newest)

    def take_snapshot(self, trainer: Trainer) -> Snapshot:
        if not self.snapshots_left:
            raise MemoryError
        self.snapshots_left -= 1
        weights = trainer.serving()
        return Snapshot("m", trainer.version, trainer.step, CONFIG, weights, torch.float32)

    def submit(self, request: ChangeRequest, line: Line | None = None) -> Future[ChangeAnswer]:
        return self.worker.submit(Job(request, line=line))

    def commit(self, changes: Sequence[Change]) -> None:
        self.log.append(("commit", [change.version for change in changes]))
        self.gate.wait()
        self.on_commit(changes)
        if self.failure is not None:
            raise self.failure

    def hold(self) -> None:
        """Let one step wait inside its commit."""
        self.gate.clear()
        self.first = self.submit(GOOD)
        while not self.log:
            pass


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.gate.set()
    assert bench.worker.close(timeout_s=10)


def test_a_step_is_committed_then_published_then_answered(bench: Bench) -> None:
    answer = bench.submit(GOOD).result()
    assert bench.log == [("commit", [2]), ("publish", 2)]
    assert isinstance(answer, StepAnswer)
    assert (answer.version, answer.step, answer.rows, answer.update) == (2, 1, 4, "gradient")


def test_steps_that_wait_together_share_a_commit_up_to_the_group_size(bench: Bench) -> None:
    bench.hold()
    answers = [bench.submit(GOOD) for _ in range(4)]
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
        bench.submit(GOOD).result()
    after = bench.worker.ask(Trainer.state).result()
    assert ("publish", 2) not in bench.log
    assert (after.version, after.step) == (1, 0)
    np.testing.assert_array_equal(after.arrays["layer.Q_reduced"], before.arrays["layer.Q_reduced"])
    bench.failure = None
    assert bench.submit(GOOD).result().version == 2


def test_a_snapshot_that_cannot_be_made_is_an_answer_for_the_whole_group(bench: Bench) -> None:
    bench.hold()
    group = [bench.submit(GOOD) for _ in range(3)]
    bench.snapshots_left = 1  # after the one of the step that is held
    bench.gate.set()
    for step in group:
        with pytest.raises(Unavailable, match="not enough memory"):
            step.result(timeout=10)
    bench.snapshots_left = 100
    assert bench.submit(GOOD).result().version == 3


def test_a_savepoint_that_cannot_be_taken_is_an_answer_and_the_thread_lives_on(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Savepoint, "take", no_memory)
        with pytest.raises(Unavailable, match="not enough memory"):
            bench.submit(GOOD).result(timeout=10)
    assert bench.submit(GOOD).result(timeout=10).version == 2


def test_questions_take_no_room_from_the_steps(bench: Bench) -> None:
    bench.hold()
    for _ in range(20):
        bench.worker.ask(Trainer.state)
    waiting = bench.submit(GOOD)
    bench.gate.set()
    assert waiting.result().version == 3


def test_a_refused_step_leaves_its_neighbours_in_the_group_alone(bench: Bench) -> None:
    bench.hold()
    refused, good = bench.submit(WITHOUT_TARGETS), bench.submit(GOOD)
    bench.gate.set()
    with pytest.raises(Unacceptable, match="needs targets"):
        refused.result()
    assert good.result().version == 3


def test_a_refused_step_does_not_undo_the_one_before_it_in_its_group(bench: Bench) -> None:
    bench.hold()
    submitted = [bench.submit(request) for request in (GOOD, WITHOUT_TARGETS, GOOD)]
    bench.gate.set()
    assert [submitted[0].result().version, submitted[2].result().version] == [3, 4]
    again = Trainer(CONFIG)
    for _ in range(3):
        again.train(GOOD)
    assert bench.worker.ask(Trainer.state_digest).result() == again.state_digest()


def test_a_step_cancelled_while_it_waits_is_not_applied(bench: Bench) -> None:
    bench.hold()
    gone, good = bench.submit(GOOD), bench.submit(GOOD)
    assert gone.cancel()
    bench.gate.set()
    assert good.result().version == 3


def test_a_full_queue_refuses_and_keeps_what_it_accepted(bench: Bench) -> None:
    bench.hold()
    accepted = [bench.submit(GOOD) for _ in range(8)]
    with pytest.raises(QueueFull, match="8 changes are waiting"):
        bench.submit(GOOD)
    bench.gate.set()
    assert accepted[-1].result().version == 10


def test_a_question_is_answered_between_groups(bench: Bench) -> None:
    bench.hold()
    asked = bench.worker.ask(lambda trainer: trainer.version)
    later = bench.submit(GOOD)
    bench.gate.set()
    assert asked.result() == 2
    assert later.result().version == 3


def test_closing_finishes_what_was_accepted_and_refuses_the_rest(bench: Bench) -> None:
    accepted = [bench.submit(GOOD) for _ in range(5)]
    assert bench.worker.close(timeout_s=10)
    assert [answer.result().version for answer in accepted] == [2, 3, 4, 5, 6]
    with pytest.raises(Unavailable, match="shutting down"):
        bench.submit(GOOD)


def test_a_fault_of_ours_is_logged_and_told_without_its_text(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.failure = ValueError("a secret of the library")
    with pytest.raises(SlimvecError, match="fault of the server") as told:
        bench.submit(GOOD).result()
    assert told.value.code == "internal"
    assert "a secret of the library" in caplog.text


def test_memory_that_cannot_be_had_is_said_as_such(bench: Bench) -> None:
    bench.failure = RuntimeError("DefaultCPUAllocator: can't allocate memory")
    with pytest.raises(Unavailable) as told:
        bench.submit(GOOD).result()
    assert told.value.code == "out_of_memory"


def test_an_unknown_outcome_ends_training_and_answers_questions_still(bench: Bench) -> None:
    bench.failure = OutcomeUnknown("outcome_unknown", "the disk failed")
    with pytest.raises(OutcomeUnknown):
        bench.submit(GOOD).result()
    bench.failure = None
    with pytest.raises(Unavailable) as refusal:
        bench.submit(GOOD)
    assert refusal.value.code == "storage_failed"
    assert bench.worker.ask(lambda trainer: trainer.version).result() == 1


def test_steps_that_waited_when_the_outcome_became_unknown_are_refused(bench: Bench) -> None:
    bench.hold()
    waiting = [bench.submit(GOOD) for _ in range(4)]
    bench.failure = OutcomeUnknown("outcome_unknown", "the disk failed")
    bench.gate.set()
    for step in waiting:
        with pytest.raises(Unavailable, match="until a restart"):
            step.result(timeout=10)


def test_after_a_refused_step_no_later_one_of_its_line_is_applied(bench: Bench) -> None:
    bench.hold()
    line = Line()
    refused, later = bench.submit(WITHOUT_TARGETS, line), bench.submit(GOOD, line)
    stranger = bench.submit(GOOD)
    bench.gate.set()
    with pytest.raises(Unacceptable, match="needs targets"):
        refused.result()
    with pytest.raises(Unavailable, match="earlier record"):
        later.result()
    assert stranger.result().version == 3


def test_after_a_failed_group_no_later_step_of_its_line_is_applied(bench: Bench) -> None:
    def fail_the_second(changes: Sequence[Change]) -> None:
        if bench.log == [("commit", [2]), ("publish", 2), ("commit", [3, 4, 5])]:
            raise StorageFull("storage_full", "no room")

    bench.hold()
    bench.on_commit = fail_the_second
    line = Line()
    jobs = [bench.submit(GOOD, line) for _ in range(5)]  # groups of three and two
    bench.gate.set()
    codes = [getattr(job.exception(timeout=10), "code", None) for job in jobs]
    assert codes == ["storage_full"] * 3 + ["stream_stopped"] * 2


def test_a_change_that_makes_no_version_publishes_nothing(bench: Bench) -> None:
    answer = bench.submit(Configure(learning_rates=(0.5,))).result()
    assert (answer.version, answer.learning_rate) == (1, 0.5)
    assert bench.log == [("commit", [1])]


def test_serving_is_part_of_the_answers_after_it(bench: Bench) -> None:
    bench.hold()
    answers = [bench.submit(Serve(version=1)), bench.submit(Configure(learning_rates=(0.1,)))]
    bench.gate.set()
    assert [getattr(answer.result(), "serving", None) for answer in answers] == [1, 1]


def test_the_follow_up_of_a_change_comes_after_its_commit(bench: Bench) -> None:
    job = Job(GOOD, then=lambda: bench.log.append("then"))
    bench.worker.submit(job).result()
    assert bench.log == [("commit", [2]), ("publish", 2), "then"]


def test_the_journal_is_given_the_digest_after_each_change(bench: Bench) -> None:
    seen: list[str] = []
    bench.on_commit = lambda changes: seen.extend(change.state_digest for change in changes)
    for request in (GOOD, Configure(learning_rates=(0.5,)), GOOD):
        bench.submit(request).result()
        assert seen[-1] == bench.worker.ask(Trainer.state_digest).result()


def test_a_refusal_that_was_judged_by_an_undone_group_is_not_told(bench: Bench) -> None:
    bench.hold()
    stale = TrainStep(batch=GOOD.batch, if_version=2)  # the version is 3 by then, if it lasts
    good, refused = bench.submit(GOOD), bench.submit(stale)
    bench.on_commit = full_from_the_second_on(bench)
    bench.gate.set()
    for job in (good, refused):
        with pytest.raises(StorageFull):
            job.result(timeout=10)


def full_from_the_second_on(bench: Bench) -> Callable[[Sequence[Change]], None]:
    def commit(changes: Sequence[Change]) -> None:
        if changes[0].version > 2:
            raise StorageFull("storage_full", "no room")

    return commit


def test_a_stopped_worker_keeps_nothing_of_what_it_refuses(bench: Bench) -> None:
    reason = Unavailable("read_only", "no")
    bench.worker.stop(reason)
    for _ in range(3):
        with pytest.raises(Unavailable) as refusal:
            bench.submit(GOOD)
        assert refusal.value is not reason
    assert reason.__traceback__ is None


def test_nothing_comes_behind_the_end_of_a_worker(bench: Bench) -> None:
    answers: list[Future[int]] = []
    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask_until_closed, bench, answers) for _ in range(4)]
        bench.worker.close(timeout_s=10)
        for future in asking:
            future.result(timeout=10)
    assert {answer.result(timeout=10) for answer in answers} <= {1}


def ask_until_closed(bench: Bench, answers: list[Future[int]]) -> None:
    with suppress(Unavailable):
        while True:
            answers.append(bench.worker.ask(lambda trainer: trainer.version))
