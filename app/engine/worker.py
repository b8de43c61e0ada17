"""The trainer's thread: the one place where a model's weights change."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Semaphore, Thread
from typing import Any, Generic, TypeVar

from app.engine.snapshot import Snapshot
from app.errors import QueueFull, SlimvecError, Unavailable
from app.training.trainer import StepOutcome, Trainer
from app.types import Change, Commit, StepAnswer, TrainStep

log = logging.getLogger("slimvec.trainer")

T = TypeVar("T")

_STOP = None


@dataclass(frozen=True, slots=True)
class _Question(Generic[T]):
    """A read of the trainer, answered between two groups of steps."""

    ask: Callable[[Trainer], T]
    answer: Future[T]


@dataclass(frozen=True, slots=True)
class _Step:
    """A step waiting to be applied."""

    step: TrainStep
    answer: Future[StepAnswer]


class TrainerWorker:
    """Owns one trainer; applies steps in the order in which they were accepted.

    A group of steps is computed on the private trainer, committed once, published by one reference
    swap, and only then answered. A failing commit undoes the whole group.

    Args:
        model: the model's name.
        trainer: owned by this thread from now on.
        take_snapshot: makes an immutable copy of the trainer's weights.
        publish: takes the newest snapshot; called before any of its steps is answered.
        commit: makes a group durable.
        queue_size: most steps waiting.
        group_size: most steps in one commit.
    """

    def __init__(
        self,
        model: str,
        trainer: Trainer,
        *,
        take_snapshot: Callable[[Trainer], Snapshot],
        publish: Callable[[Snapshot], None],
        commit: Commit,
        queue_size: int,
        group_size: int,
    ) -> None:
        self._model = model
        self._trainer = trainer
        self._before = trainer.savepoint()
        self._take_snapshot = take_snapshot
        self._publish = publish
        self._commit = commit
        self._group_size = group_size
        self._queue_size = queue_size
        self._room = Semaphore(queue_size)
        self._inbox: SimpleQueue[_Step | _Question[Any] | None] = SimpleQueue()
        self._is_closed = False
        self._rejection: SlimvecError | None = None
        self._thread = Thread(target=self._run, name=f"trainer-{model}", daemon=True)
        self._thread.start()

    def submit(self, step: TrainStep) -> Future[StepAnswer]:
        """Queue a step; the future is resolved after the step is committed and published.

        Raises:
            QueueFull: as many steps as allowed are waiting; nothing was accepted.
            Unavailable: the worker is closed.
        """
        if not self._room.acquire(blocking=False):
            raise QueueFull(
                "queue_full",
                f"{self._queue_size} train steps are waiting for model {self._model!r} already; "
                "nothing was accepted, try again shortly",
            )
        job = _Step(step, Future())
        try:
            self._put(job)
        except Unavailable:
            self._room.release()
            raise
        return job.answer

    def ask(self, question: Callable[[Trainer], T]) -> Future[T]:
        """Read the trainer between two groups, in the thread that owns it."""
        job = _Question(question, Future())
        self._put(job)
        return job.answer

    def reject_waiting(self, reason: SlimvecError) -> None:
        """Answer every step that has not begun with this error; the group in work is finished."""
        self._rejection = reason

    @property
    def is_closed(self) -> bool:
        """Whether nothing more is accepted."""
        return self._is_closed

    def close(self, timeout_s: float) -> bool:
        """Finish what was accepted, then stop; whether it ended within the time."""
        if not self._is_closed:
            self._is_closed = True
            self._inbox.put(_STOP)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _put(self, job: _Step | _Question[Any]) -> None:
        if self._is_closed:
            raise Unavailable("draining", "the model is shutting down; nothing was accepted")
        self._inbox.put(job)

    def _run(self) -> None:
        job = self._inbox.get()
        while job is not _STOP:
            if isinstance(job, _Question):
                _answer(job, self._trainer)
                job = self._inbox.get()
            else:
                job = self._run_group(job)

    def _run_group(self, first: _Step) -> _Step | _Question[Any] | None:
        """Apply the steps that wait together; returns the job after them.

        Whoever is there already shares the commit; nobody waits for a timer.
        """
        group = [first]
        following: _Step | _Question[Any] | None
        while True:
            try:
                following = self._inbox.get_nowait()
            except Empty:
                self._apply(group)
                return self._inbox.get()
            if not isinstance(following, _Step) or len(group) == self._group_size:
                self._apply(group)
                return following
            group.append(following)

    def _apply(self, group: list[_Step]) -> None:
        self._room.release(len(group))
        try:
            self._before.take()
        except Exception as error:  # nothing was begun
            _refuse(group, error)
            return
        try:
            accepted, snapshot = self._compute(group)
            if snapshot is None:
                return
            changes = [Change(step=job.step, answer=answer) for job, answer in accepted]
            self._commit(self._model, changes)
        except Exception as error:  # every waiter is answered, and the thread lives on
            self._before.restore()
            _refuse(group, error)
            return
        self._publish(snapshot)
        for job, answer in accepted:
            job.answer.set_result(answer)

    def _compute(
        self, group: list[_Step]
    ) -> tuple[list[tuple[_Step, StepAnswer]], Snapshot | None]:
        """Every step of the group on the private trainer; the last one's snapshot."""
        accepted: list[tuple[_Step, StepAnswer]] = []
        snapshot: Snapshot | None = None
        for job in group:
            if (outcome := self._train(job)) is not None:
                snapshot = self._take_snapshot(self._trainer)
                accepted.append((job, self._answer(outcome, snapshot)))
        return accepted, snapshot

    def _train(self, job: _Step) -> StepOutcome | None:
        """One step on the private trainer; a refused one is answered here and changes nothing."""
        if not job.answer.set_running_or_notify_cancel():
            return None  # the client had gone before its step was begun
        try:
            if self._rejection is not None:
                raise self._rejection
            return self._trainer.train(job.step)
        except Exception as error:
            job.answer.set_exception(_refusal(error))
            return None

    def _answer(self, outcome: StepOutcome, snapshot: Snapshot) -> StepAnswer:
        rates = outcome.learning_rates
        return StepAnswer(
            model=self._model,
            version=snapshot.stamp.version,
            step=self._trainer.step,
            update="gradient",
            loss=outcome.loss,
            grad_norm=outcome.grad_norm,
            learning_rate=rates[0] if len(rates) == 1 else rates,
            rows=outcome.rows,
            digest=snapshot.stamp.digest,
        )


def _answer(question: _Question[T], trainer: Trainer) -> None:
    if not question.answer.set_running_or_notify_cancel():
        return
    try:
        question.answer.set_result(question.ask(trainer))
    except Exception as error:
        question.answer.set_exception(_refusal(error))


def _refuse(group: list[_Step], error: Exception) -> None:
    """Answer every step of the group that has no answer yet."""
    refusal = _refusal(error)
    for job in group:
        with suppress(InvalidStateError):  # refused on its own before, or its client has gone
            job.answer.set_exception(refusal)


def _refusal(error: Exception) -> SlimvecError:
    """What a waiter is told; a fault of ours is logged here, once, and stays inside."""
    if isinstance(error, SlimvecError):
        return error
    if isinstance(error, MemoryError) or "allocate" in str(error):
        return Unavailable("out_of_memory", "not enough memory for this step; nothing changed")
    log.error("train step failed", exc_info=error)
    return SlimvecError("internal", "the step failed by a fault of the server; nothing changed")
