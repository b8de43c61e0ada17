"""What waits for a trainer: changes to make and questions to answer."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from app.engine.out_of_memory import is_out_of_memory
from app.errors import OutOfMemory, SlimvecError
from app.training.trainer import Trainer
from app.types import ChangeAnswer, ChangeRequest, Key

log = logging.getLogger("slimvec.trainer")

T = TypeVar("T")


class Line:
    """Requests that stand or fall in their order: after a refused one, no later one is applied.

    Attributes:
        is_broken: whether one of them was refused; set and read by the trainer's thread alone.
    """

    __slots__ = ("is_broken",)

    def __init__(self) -> None:
        self.is_broken = False


def _nothing() -> None:
    """The default of `Job.then`."""


@dataclass(frozen=True, slots=True)
class Job:
    """A change waiting to be made.

    Attributes:
        request: what to change.
        key: the Idempotency-Key that it came with.
        line: what it is in line with.
        followers: lines that stand behind it too: of whoever sent the same request again.
        then: called when the change is published, before it is answered.
        answer: resolved at the end, in whatever way.
    """

    request: ChangeRequest
    key: Key | None = None
    line: Line | None = None
    then: Callable[[], None] = _nothing
    followers: list[Line] = field(default_factory=list)
    answer: Future[ChangeAnswer] = field(default_factory=Future)

    def break_line(self) -> None:
        """Let nothing be applied that stands in line behind this."""
        for line in (self.line, *self.followers):
            if line is not None:
                line.is_broken = True

    def follow(self, line: Line) -> None:
        """Let another line stand behind this, too."""
        self.followers.append(line)
        if self.answer.done() and (self.answer.cancelled() or self.answer.exception()):
            line.is_broken = True

    def refuse(self, error: Exception) -> None:
        """Answer with an error, unless there is an answer already, and break the line."""
        self.break_line()
        with suppress(InvalidStateError):  # refused on its own before, or its client has gone
            self.answer.set_exception(refusal(error))


@dataclass(frozen=True, slots=True)
class Question(Generic[T]):
    """A read of the trainer, answered between two groups of changes."""

    ask: Callable[[Trainer], T]
    answer: Future[T]

    def put_to(self, trainer: Trainer) -> None:
        """Ask, and resolve the answer."""
        if not self.answer.set_running_or_notify_cancel():
            return
        try:
            self.answer.set_result(self.ask(trainer))
        except Exception as error:
            self.answer.set_exception(refusal(error))


def refuse_all(jobs: Iterable[Job], error: Exception) -> None:
    """Answer every job that has no answer yet with the same error."""
    named = refusal(error)  # a fault of ours is logged once
    for job in jobs:
        job.refuse(named)


def refusal(error: Exception) -> SlimvecError:
    """What a waiter is told; a fault of ours is logged here, once, and stays inside."""
    if isinstance(error, SlimvecError):
        return error.anew()
    if is_out_of_memory(error):
        return OutOfMemory()
    log.error("change failed", exc_info=error)
    return SlimvecError("internal", "the change failed by a fault of the server; nothing changed")
