"""Train steps: checked, keyed, queued, answered."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, cast

from app.engine import Job, Line, LiveModel
from app.errors import MustPause, StepRejected, Unacceptable, Unavailable
from app.failpoints import reach
from app.service.checkpoints import Checkpoints
from app.service.keys import Running, in_progress
from app.service.masks import check_mask
from app.service.rejections import Rejections
from app.service.rows import decode_step_answer, encode_answer
from app.service.validation import (
    check_amount,
    check_batch,
    check_branch,
    check_rows,
    check_trainable,
)
from app.types import ChangeAnswer, Key, StepAnswer, StepResult, TrainStep

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from app.service.service import Service

REFUSED = "refused_"  # counters of one reason each

# Measured: about a millisecond of looking for values that are not finite.
_LOOKED_AT_INLINE_BYTES = 4 << 20


class Steps:
    """The verbs of training.

    Args:
        service: finds models, and says whether changes are accepted.
        checkpoints: told of every accepted step.
        rejections: says who has to pause.
    """

    def __init__(self, service: Service, checkpoints: Checkpoints, rejections: Rejections) -> None:
        self._service = service
        self._checkpoints = checkpoints
        self._rejections = rejections

    async def look(self, model: str, step: TrainStep) -> None:
        """Look at the values of a large step beside the event loop; comes before `begin` or `join`.

        Those look at smaller ones themselves.

        Raises:
            NotFound, Conflict, Unacceptable: the step cannot be made.
        """
        if _is_large(step):
            batch, live = step.batch, self._service.live(model)
            check_trainable(live.config, model)
            look = partial(check_batch, batch, live.snapshot.input_shape, model)
            await self._service.aside(look)

    def begin(
        self,
        model: str,
        step: TrainStep,
        key: Key | None = None,
        line: Line | None = None,
        *,
        sender: str = "",
    ) -> Awaitable[StepResult]:
        """Queue a step now; its result comes when it is durable and published.

        Raises:
            NotFound, Unacceptable, Conflict, MustPause, QueueFull, Unavailable: nothing was
                accepted.
        """
        known = self._find(model, key)
        if isinstance(known, Running):
            raise in_progress()
        if known is not None:
            return self._settled(known)
        return self._submitted(self._checked(model, step, sender), step, key, line, sender)

    def join(
        self,
        model: str,
        step: TrainStep,
        key: Key | None = None,
        line: Line | None = None,
        *,
        sender: str = "",
    ) -> Awaitable[StepResult]:
        """Queue a step now, or wait with whoever is carrying out the same one; see `begin`."""
        known = self._find(model, key)
        if isinstance(known, Running):
            if line is not None:
                known.job.follow(line)
            again = partial(self.join, model, step, key, line, sender=sender)
            return self._joined(known.job, again)
        if known is not None:
            return self._settled(known)
        return self._submitted(self._checked(model, step, sender), step, key, line, sender)

    def forget(self, model: str) -> None:
        """The model was deleted; what its senders did is no matter of the next of that name."""
        self._rejections.forget(model)

    def _checked(self, model: str, step: TrainStep, sender: str) -> LiveModel:
        self._service.life.check_accepting()
        live = self._service.live(model)
        check_trainable(live.config, model)
        try:
            self._rejections.check(model, sender)
        except MustPause as error:
            _count_refused(live, error.code)
            raise
        shape = live.snapshot.input_shape
        if _is_large(step):  # `look` saw the values; the model may be another one since
            check_rows(step.batch.hidden_states, shape, model)
        else:
            check_batch(step.batch, shape, model)
        check_branch(step.branch, live.snapshot.branches, model)
        check_amount(step.batch.hidden_states, live.snapshot, model)
        check_mask(step.batch.mask, step.batch.hidden_states, live.snapshot, model)
        reach("parse.done")
        return live

    def _find(self, model: str, key: Key | None) -> bytes | Running | None:
        reach("idem.lookup")
        if key is None:
            return None
        self._service.live(model)
        return self._service.histories[model].keys.find(key)

    def _submitted(
        self, live: LiveModel, step: TrainStep, key: Key | None, line: Line | None, sender: str
    ) -> Awaitable[StepResult]:
        job = Job(step, key, line)
        if key is not None:
            # Before it is queued: a twin that comes meanwhile must find it.
            self._service.histories[live.name].keys.begin(key, job)
        try:
            answer = live.submit(job)
        except Exception:
            job.answer.cancel()
            raise
        return self._answered(live, answer, sender)

    async def _answered(
        self, live: LiveModel, future: Future[ChangeAnswer], sender: str
    ) -> StepResult:
        try:
            answer = cast(StepAnswer, await asyncio.wrap_future(future))  # a step was asked for
        except StepRejected as error:
            self._rejections.note_rejected(live.name, sender)
            _count_refused(live, error.reason)
            raise
        except Unacceptable as error:
            _count_refused(live, error.code)
            raise
        self._rejections.note_accepted(live.name, sender)
        live.counters["steps_accepted"] += 1
        live.counters["rows_trained"] += answer.rows
        self._checkpoints.note_step(live.name, answer.version)
        return StepResult(answer, encode_answer(answer), is_replayed=False)

    async def _joined(self, job: Job, again: Callable[[], Awaitable[StepResult]]) -> StepResult:
        try:
            # Shielded: this waiter may go, the one that began the step still wants its answer.
            answer = await asyncio.shield(asyncio.wrap_future(job.answer))
        except asyncio.CancelledError:
            if not job.answer.cancelled():
                raise
            return await again()  # whoever began it went away before the trainer came to it
        except Unavailable as error:
            if error.code != "stream_stopped":
                raise
            return await again()  # it stood behind a refused record of another stream
        return StepResult(cast(StepAnswer, answer), encode_answer(answer), is_replayed=True)

    async def _settled(self, body: bytes) -> StepResult:
        return StepResult(decode_step_answer(body), body, is_replayed=True)


def _count_refused(live: LiveModel, reason: str) -> None:
    live.counters["steps_refused"] += 1
    live.counters[f"{REFUSED}{reason}"] += 1


def _is_large(step: TrainStep) -> bool:
    return step.batch.nbytes > _LOOKED_AT_INLINE_BYTES
