"""The trainer's thread: the one place where a model changes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from threading import Lock, Semaphore, Thread
from typing import Any, TypeAlias, TypeVar

from app.engine.drain_rate import DrainRate
from app.engine.group import Group
from app.engine.jobs import Job, Question, refuse_all
from app.engine.publication import Publication
from app.errors import OutcomeUnknown, QueueFull, SlimvecError, Unavailable
from app.failpoints import reach
from app.training.trainer import Trainer
from app.types import ChangeAnswer, Commit, Serving

log = logging.getLogger("slimvec.trainer")

T = TypeVar("T")

_STOP = None
_Waiting: TypeAlias = Job | Question[Any] | None


class TrainerWorker:
    """Owns one trainer; makes changes in the order in which they were accepted.

    A group of changes is computed on the private trainer, committed once, published by one
    reference swap, and only then answered. A failing commit undoes the whole group; one that
    leaves the outcome unknown ends all training until a restart.

    Args:
        model: the model's name.
        trainer: owned by this thread from now on.
        first: what is published now.
        serving: which version unpinned requests get now.
        follow: what is published after the trainer's last change.
        publish: takes that; called before any change of the group is answered.
        commit: makes a group durable.
        queue_size: most changes waiting.
        group_size: most changes in one commit.
    """

    def __init__(
        self,
        model: str,
        trainer: Trainer,
        first: Publication,
        serving: Serving,
        *,
        follow: Callable[[Trainer, Publication], Publication],
        publish: Callable[[Publication], None],
        commit: Commit,
        queue_size: int,
        group_size: int,
    ) -> None:
        self._model = model
        self._trainer = trainer
        self._before = trainer.savepoint()
        self._published = first
        self._serving = serving
        self._follow = follow
        self._publish = publish
        self._commit = commit
        self._group_size = group_size
        self._queue_size = queue_size
        self._room = Semaphore(queue_size)
        self._drained = DrainRate()
        self._inbox: SimpleQueue[_Waiting] = SimpleQueue()
        self._is_closed = False
        self._closing = Lock()
        self._rejection: SlimvecError | None = None
        self.stopped: SlimvecError | None = None
        self._thread = Thread(target=self._run, name=f"trainer-{model}", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> Future[ChangeAnswer]:
        """Queue a change; its answer comes after it is committed and published.

        Raises:
            QueueFull: as many changes as allowed are waiting; nothing was accepted.
            Unavailable: the worker is closed, or training is stopped.
        """
        if self.stopped is not None:
            raise self.stopped.anew()
        if not self._room.acquire(blocking=False):
            raise QueueFull(
                "queue_full",
                f"{self._queue_size} changes are waiting for model {self._model!r} already; "
                "nothing was accepted, try again later",
                retry_after_s=self._drained.wait_s(1),
            )
        if self._inbox.empty():
            self._drained.begin()
        try:
            self._put(job)
        except Unavailable:
            self._room.release()
            raise
        reach("queue.put")
        return job.answer

    def ask(self, question: Callable[[Trainer], T]) -> Future[T]:
        """Read the trainer between two groups, in the thread that owns it."""
        job = Question(question, Future[T]())
        self._put(job)
        return job.answer

    def reject_waiting(self, reason: SlimvecError) -> None:
        """Answer every change that has not begun with this error; the group in work is finished."""
        self._rejection = reason

    def stop(self, reason: SlimvecError) -> None:
        """Accept no more changes, and say why; questions are answered still."""
        self.stopped = self._rejection = reason

    @property
    def is_closed(self) -> bool:
        """Whether nothing more is accepted."""
        return self._is_closed

    def close(self, timeout_s: float) -> bool:
        """Finish what was accepted, then stop; whether it ended within the time."""
        with self._closing:
            if not self._is_closed:
                self._is_closed = True
                self._inbox.put(_STOP)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _put(self, job: Job | Question[Any]) -> None:
        with self._closing:  # nothing may come behind the stop: nobody would answer it
            if self._is_closed:
                raise Unavailable("draining", "the model is shutting down; nothing was accepted")
            self._inbox.put(job)

    def _run(self) -> None:
        job = self._inbox.get()
        while job is not _STOP:
            if isinstance(job, Question):
                job.put_to(self._trainer)
                job = self._inbox.get()
            else:
                job = self._run_group(job)

    def _run_group(self, first: Job) -> _Waiting:
        """Make the changes that wait together; returns the job after them.

        Whoever is there already shares the commit; nobody waits for a timer.
        """
        jobs = [first]
        while True:
            try:
                following = self._inbox.get_nowait()
            except Empty:
                self._apply(jobs)
                return self._inbox.get()
            if not isinstance(following, Job) or len(jobs) == self._group_size:
                self._apply(jobs)
                return following
            jobs.append(following)

    def _apply(self, jobs: list[Job]) -> None:
        self._room.release(len(jobs))
        self._drained.finished += len(jobs)
        try:
            self._before.take()
        except Exception as error:  # nothing was begun
            refuse_all(jobs, error)
            return
        group = Group(
            self._model,
            self._trainer,
            self._before,
            self._published,
            self._serving,
            self._follow,
        )
        try:
            for job in jobs:
                group.add(job, rejection=self._rejection)
            if group.changes:
                self._commit(group.changes)
        except Exception as error:  # every waiter is answered, and the thread lives on
            if isinstance(error, OutcomeUnknown):
                self._stop_until_restart(error)
            self._undo()
            refuse_all(jobs, error)
            return
        self._settle(group)

    def _settle(self, group: Group) -> None:
        reach("publish.before_swap")
        if group.published is not self._published:
            self._publish(group.published)
        self._published, self._serving = group.published, group.serving
        for job, _ in group.accepted:
            job.then()
        reach("publish.after_swap")
        for job, answer in group.accepted:
            job.answer.set_result(answer)
        for job, error in group.refused:
            job.refuse(error)

    def _undo(self) -> None:
        try:
            self._before.restore()
        except Exception as error:  # the published versions are whole, the trainer is not
            log.critical("training stopped", exc_info=error, extra={"model": self._model})
            self.stop(
                Unavailable(
                    "training_failed",
                    "a change failed and could not be undone in memory; training is stopped until "
                    "a restart, which recovers what is on disk; reads go on",
                )
            )

    def _stop_until_restart(self, error: OutcomeUnknown) -> None:
        log.critical("training stopped: %s", error.detail, extra={"model": self._model})
        self.stop(
            Unavailable(
                "storage_failed",
                "the disk failed while a change was being made durable; training is stopped until "
                "a restart, which finds out what is on disk; reads go on",
            )
        )
