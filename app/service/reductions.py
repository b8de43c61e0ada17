"""Reductions: which version answers, and what it answers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from app.engine import Engine, LiveModel, Ticket
from app.engine.snapshot import Snapshot
from app.errors import PreconditionFailed
from app.service.reduce_options import NO_OPTIONS, ReduceOptions, check_dimensions, finish
from app.service.validation import check_reduced, check_width
from app.settings import Settings
from app.types import FloatArray, Reduced

if TYPE_CHECKING:
    from app.service.service import Service


class Reductions:
    """The verb of serving.

    Args:
        service: finds models and versions.
        engine: multiplies.
        settings: the dtype of the product.
    """

    def __init__(self, service: Service, engine: Engine, settings: Settings) -> None:
        self._service = service
        self._engine = engine
        self._settings = settings

    async def reduce(
        self, ticket: Ticket, model: str, hidden_states: FloatArray, options: ReduceOptions
    ) -> Reduced:
        """See `Service.reduce`."""
        live = self._service.live(model)
        check_width(hidden_states, live.config.input_size, model)
        check_dimensions(options.dimensions, live)
        snapshot = await self._choose(live, options)
        array = await self._engine.reduce(ticket, snapshot, hidden_states)
        check_reduced(hidden_states, array, self._settings.dtype)
        live.counters["rows_reduced"] += array.size // snapshot.n_components
        if options is not NO_OPTIONS:
            array = finish(array, options)
        return Reduced(array, snapshot.stamp)

    async def _choose(self, live: LiveModel, options: ReduceOptions) -> Snapshot:
        asked = options.version
        snapshot = live.served if asked is None else live.snapshot
        if isinstance(asked, int) and asked != snapshot.stamp.version:
            snapshot = await self.pinned(live, asked)
        required = options.require_version
        if required is not None and required != snapshot.stamp.version:
            raise PreconditionFailed(
                "version_mismatch",
                f"version {required} is required; version {snapshot.stamp.version} would answer",
            )
        return snapshot

    async def pinned(self, live: LiveModel, version: int) -> Snapshot:
        """A retained version, ready to multiply.

        Raises:
            NotFound: it is not retained; the message names the nearest ones.
        """
        snapshot = live.pinned(version)
        if snapshot is None:
            snapshot = await asyncio.to_thread(self.load, live.name, version)
            live.pin(snapshot)
        return snapshot

    def load(self, model: str, version: int) -> Snapshot:
        """A retained version, from the disk."""
        return self._engine.snapshot(model, self._service.models.read_version(model, version))
