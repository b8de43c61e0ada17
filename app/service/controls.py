"""Controls: every change of a model that is not a train step."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from functools import partial
from typing import TYPE_CHECKING, cast

from app.config import Component
from app.engine import Accumulator, Engine, Job, LiveModel, Snapshot
from app.errors import NotFound
from app.exchange import for_model
from app.service.checkpoints import Checkpoints
from app.service.validation import check_batch, check_trainable
from app.types import (
    Batch,
    ChangeRequest,
    Configure,
    ControlAnswer,
    Fit,
    FitAnswer,
    NamedArrays,
    Replace,
    Rollback,
    Serve,
    Serving,
    TrainerState,
)

if TYPE_CHECKING:
    from app.service.service import Service

_PCA = Component(type="pca")


class Controls:
    """The operator's verbs; each is journaled and answered like a train step.

    Args:
        service: finds models and versions, and says whether changes are accepted.
        engine: makes states of checkpoints.
        checkpoints: keep versions on disk while they are read.
    """

    def __init__(self, service: Service, engine: Engine, checkpoints: Checkpoints) -> None:
        self._service = service
        self._engine = engine
        self._checkpoints = checkpoints

    async def promote(
        self, model: str, version: Serving, if_version: int | None = None
    ) -> ControlAnswer:
        """Let unpinned requests have a retained version, or `live`: the newest one from now on.

        A gate that holds the newest version back opens by that.

        Raises:
            NotFound: the version is not retained; the message names the nearest ones.
        """
        live = self._live(model)
        request = Serve(version=version, if_version=if_version)
        if version == "live":
            return await self._change(Job(request, then=lambda: live.serve("live", None)), live)
        async with self._checkpoints.paused(model):
            if version == live.snapshot.stamp.version:
                await self._checkpoints.write_paused(live)
            # On disk, not only in memory: what is served must be there after a restart.
            snapshot = await self._load_retained(live, version)
            job = Job(request, then=lambda: live.serve(version, snapshot))
            return await self._change(job, live)

    async def rollback(
        self, model: str, version: int, if_version: int | None = None
    ) -> ControlAnswer:
        """Go on learning from a retained version's state, as a new version.

        Raises:
            NotFound: the version is not retained; the message names the nearest ones.
        """
        live = self._live(model)
        async with self._checkpoints.paused(model):
            state = await asyncio.to_thread(self._state_of, model, version)
        return await self._request(Rollback(to=version, state=state, if_version=if_version), live)

    async def configure(
        self, model: str, learning_rates: float | tuple[float, ...], if_version: int | None = None
    ) -> ControlAnswer:
        """Set the learning rate: one for all parameter groups, or one for each."""
        live = self._live(model)
        request = Configure(learning_rates=learning_rates, if_version=if_version)
        return await self._request(request, live)

    async def replace(
        self, model: str, tensors: NamedArrays, if_version: int | None = None
    ) -> ControlAnswer:
        """Take trained weights in the place of the present ones: all serving tensors of a stack.

        Raises:
            ArtifactInvalid: other names or shapes, or values that no layer can have.
        """
        live = self._live(model)
        given = await asyncio.to_thread(for_model, tensors, live.snapshot.tensors.keys())
        return await self._request(Replace(tensors=given, if_version=if_version), live)

    async def fit(
        self,
        model: str,
        batches: Batch | AsyncIterable[Batch],
        method: Component = _PCA,
        if_version: int | None = None,
    ) -> FitAnswer:
        """Start anew from data: one batch, or a stream of any length at bounded memory.

        Nothing is changed before the last batch was counted in; a refused one refuses the whole.

        Raises:
            Conflict: `model_frozen`.
            ConfigInvalid: no such method, or not for this model; before a batch is taken.
            Unacceptable: a batch that does not fit.
        """
        live = self._live(model)
        check_trainable(live.config, model)
        accumulator = Accumulator(live.config, method)
        async for batch in _one(batches) if isinstance(batches, Batch) else batches:
            check_batch(batch, live.snapshot.input_shape, model)
            await self._engine.aside(partial(accumulator.add, batch))
        moments = await self._engine.aside(accumulator.moments)
        request = Fit(method=method, moments=moments, if_version=if_version)
        return cast(FitAnswer, await self._request(request, live))  # a fit tells what it did

    async def _load_retained(self, live: LiveModel, version: int) -> Snapshot:
        try:
            return await asyncio.to_thread(self._service.reductions.load, live.name, version)
        except NotFound as error:
            raise NotFound(
                error.code,
                f"{error.detail}; to serve the newest while it is trained, write it with "
                f"POST /models/{live.name}/versions, and promote the number that this answers",
            ) from error

    def _live(self, model: str) -> LiveModel:
        self._service.life.check_accepting()
        return self._service.live(model)

    def _state_of(self, model: str, version: int) -> TrainerState:
        return self._engine.state_of(self._service.retained.read(model, version))

    async def _request(self, request: ChangeRequest, live: LiveModel) -> ControlAnswer:
        return await self._change(Job(request), live)

    async def _change(self, job: Job, live: LiveModel) -> ControlAnswer:
        # Shielded: once it is queued, a caller that goes away changes nothing about it.
        answer = await asyncio.shield(asyncio.wrap_future(live.submit(job)))
        self._checkpoints.note_step(live.name, answer.version)
        return cast(ControlAnswer, answer)  # no step was asked for


async def _one(batch: Batch) -> AsyncIterator[Batch]:
    yield batch
