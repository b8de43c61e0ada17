"""Train steps: checked, keyed, queued, answered."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, cast

from app.engine import Job, Line, LiveModel
from app.errors import StepRejected, Unacceptable, Unavailable
from app.failpoints import reach
from app.service.checkpoints import Checkpoints
from app.service.keys import Running, in_progress
from app.service.rows import decode_step_answer, encode_answer
from app.service.validation import check_batch, check_width
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
    """

    def __init__(self, service: Service, checkpoints: Checkpoints) -> None:
        self._service = service
        self._checkpoints = checkpoints

    async def look(self, model: str, step: TrainStep) -> None:
        """Look at the values of a large step beside the event loop; comes before `begin` or `join`.

        Those look at smaller ones themselves.

        Raises:
            NotFound, Unacceptable: the step cannot be made.
        """
        if _is_large(step):
            batch, width = step.batch, self._service.live(model).config.input_size
            await self._service.aside(partial(check_batch, batch, width, model))

    def begin(
        self, model: str, step: TrainStep, key: Key | None = None, line: Line | None = None
    ) -> Awaitable[StepResult]:
        """Queue a step now; its result comes when it is durable and published.

        Raises:
            NotFound, Unacceptable, InProgress, QueueFull, Unavailable: nothing was accepted.
        """
        known = self._find(model, key)
        if isinstance(known, Running):
            raise in_progress()
        if known is not None:
            return self._settled(known)
        return self._submitted(self._checked(model, step), step, key, line)

    def join(
        self, model: str, step: TrainStep, key: Key | None = None, line: Line | None = None
    ) -> Awaitable[StepResult]:
        """Queue a step now, or wait with whoever is carrying out the same one; see `begin`."""
        known = self._find(model, key)
        if isinstance(known, Running):
            if line is not None:
                known.job.follow(line)
            return self._joined(known.job, lambda: self.join(model, step, key, line))
        if known is not None:
            return self._settled(known)
        return self._submitted(self._checked(model, step), step, key, line)

    def _checked(self, model: str, step: TrainStep) -> LiveModel:
        self._service.check_accepting()
        live = self._service.live(model)
        width = live.config.input_size
        if _is_large(step):  # `look` saw the values; the model may be another one since
            check_width(step.batch.hidden_states, width, model)
        else:
            check_batch(step.batch, width, model)
        reach("parse.done")
        return live

    def _find(self, model: str, key: Key | None) -> bytes | Running | None:
        reach("idem.lookup")
        if key is None:
            return None
        self._service.live(model)
        return self._service.histories[model].keys.find(key)

    def _submitted(
        self, live: LiveModel, step: TrainStep, key: Key | None, line: Line | None
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
        return self._answered(live, answer)

    async def _answered(self, live: LiveModel, future: Future[ChangeAnswer]) -> StepResult:
        try:
            answer = cast(StepAnswer, await asyncio.wrap_future(future))  # a step was asked for
        except Unacceptable as error:
            reason = error.reason if isinstance(error, StepRejected) else error.code
            live.counters["steps_refused"] += 1
            live.counters[f"{REFUSED}{reason}"] += 1
            raise
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


def _is_large(step: TrainStep) -> bool:
    return step.batch.hidden_states.nbytes > _LOOKED_AT_INLINE_BYTES
