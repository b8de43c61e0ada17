"""Controls: every change of a model that is not a train step."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from app.engine import Engine, Job, LiveModel
from app.engine.snapshot import Snapshot
from app.errors import NotFound
from app.exchange import from_tensors
from app.service.checkpoints import Checkpoints
from app.service.validation import check_finite, check_trainable, check_width
from app.types import (
    ChangeRequest,
    Configure,
    ControlAnswer,
    Fit,
    FloatArray,
    NamedArrays,
    Replace,
    Rollback,
    Serve,
    Serving,
    TrainerState,
)

if TYPE_CHECKING:
    from app.service.service import Service


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
        """Let unpinned requests have a retained version, or `live`: the newest one, always.

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
        self, model: str, learning_rates: tuple[float, ...], if_version: int | None = None
    ) -> ControlAnswer:
        """Set the learning rate: one for all parameter groups, or one for each."""
        live = self._live(model)
        request = Configure(learning_rates=learning_rates, if_version=if_version)
        return await self._request(request, live)

    async def replace(
        self, model: str, tensors: NamedArrays, if_version: int | None = None
    ) -> ControlAnswer:
        """Take trained weights, under a known name, in the place of the present ones."""
        live = self._live(model)
        layer = await asyncio.to_thread(from_tensors, tensors)
        return await self._request(Replace(tensors=layer.tensors, if_version=if_version), live)

    async def fit(
        self,
        model: str,
        hidden_states: FloatArray,
        method: str = "pca",
        if_version: int | None = None,
    ) -> ControlAnswer:
        """Start anew from a batch of data.

        Shape: hidden_states `(…, input_size)`.

        Raises:
            Conflict: `model_frozen`.
        """
        live = self._live(model)
        check_trainable(live.config, model)
        check_width(hidden_states, live.config.input_size, model)
        check_finite("hidden_states", hidden_states)
        request = Fit(method=method, hidden_states=hidden_states, if_version=if_version)
        return await self._request(request, live)

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
        self._service.check_accepting()
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
