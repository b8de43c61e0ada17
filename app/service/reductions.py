"""Reductions: which version answers, and what it answers."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from app.engine import Engine, LiveModel, Ticket
from app.engine.snapshot import Snapshot
from app.errors import PreconditionFailed
from app.service.reduce_options import NO_OPTIONS, ReduceOptions, check_dimensions, finish
from app.service.validation import check_last_dimension, check_width, refuse_non_finite
from app.settings import Settings
from app.types import FloatArray, Reduced

if TYPE_CHECKING:
    from app.service.service import Service

# Measured: about 0.3 ms of numpy.
_FINISHED_INLINE = 128 << 10


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
        self._dtype = settings.dtype
        self._reading: dict[tuple[LiveModel, int], asyncio.Task[Snapshot]] = {}

    async def reduce(
        self, ticket: Ticket, model: str, hidden_states: FloatArray, options: ReduceOptions
    ) -> Reduced:
        """See `Service.reduce`."""
        live = self._service.live(model)
        check_width(hidden_states, live.config.input_size, model)
        check_dimensions(options.dimensions, live)
        snapshot = await self._choose(live, options)
        product = await self._engine.reduce(ticket, snapshot, hidden_states)
        array = product.array
        if not product.is_finite:
            await self._engine.aside(partial(refuse_non_finite, hidden_states, self._dtype))
        live.counters["rows_reduced"] += len(array)
        if hidden_states.ndim != 2:
            array = array.reshape(*hidden_states.shape[:-1], snapshot.n_components)
        if options is not NO_OPTIONS:
            array = await self._finish(array, options)
        return Reduced(array, snapshot.stamp)

    async def reduce_nothing(
        self, model: str, hidden_states: FloatArray, options: ReduceOptions
    ) -> Reduced:
        """What hidden_states without rows give: the shape, and the stamp that rows would have.

        Raises:
            NotFound, PreconditionFailed, Unacceptable: as with rows.
        """
        live = self._service.live(model)
        check_last_dimension(hidden_states, live.config.input_size, model)
        check_dimensions(options.dimensions, live)
        snapshot = await self._choose(live, options)
        width = options.dimensions or snapshot.n_components
        return Reduced(np.empty((*hidden_states.shape[:-1], width), np.float32), snapshot.stamp)

    async def _finish(self, array: FloatArray, options: ReduceOptions) -> FloatArray:
        if array.size <= _FINISHED_INLINE:
            return finish(array, options)
        return await self._engine.aside(partial(finish, array, options))

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
        if snapshot is not None:
            return snapshot
        reading = self._reading.get((live, version))
        if reading is None:
            reading = asyncio.create_task(self._read(live, version))
            self._reading[live, version] = reading
            reading.add_done_callback(partial(self._have_read, live, version))
        return await asyncio.shield(reading)  # whoever goes does not take it from the others

    async def _read(self, live: LiveModel, version: int) -> Snapshot:
        snapshot = await asyncio.to_thread(self.load, live.name, version)
        live.pin(snapshot)
        return snapshot

    def _have_read(self, live: LiveModel, version: int, reading: asyncio.Task[Snapshot]) -> None:
        del self._reading[live, version]
        if not reading.cancelled():
            reading.exception()  # looked at, also when everybody who waited has gone

    def load(self, model: str, version: int) -> Snapshot:
        """A retained version, from the disk."""
        return self._engine.snapshot(model, self._service.retained.read(model, version))
