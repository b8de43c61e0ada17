"""Reductions: which version answers, and what it answers."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from app.engine import Engine, LiveModel, Snapshot, Ticket
from app.errors import PreconditionFailed
from app.service.masks import check_mask
from app.service.reduce_options import NO_OPTIONS, ReduceOptions, check_dimensions, finish
from app.service.shared_work import SharedWork
from app.service.validation import (
    check_amount,
    check_branch,
    check_finite,
    check_rows,
    check_shape,
    refuse_non_finite,
)
from app.settings import Settings
from app.types import NOTHING_BESIDE, Beside, FloatArray, Reduced, Serving

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
        self._reading: SharedWork[tuple[LiveModel, int], Snapshot] = SharedWork()

    async def reduce(
        self,
        ticket: Ticket,
        model: str,
        hidden_states: FloatArray,
        options: ReduceOptions,
        mask: FloatArray | None = None,
    ) -> Reduced:
        """See `Service.reduce`."""
        live = self._service.live(model)
        form = live.served
        check_rows(hidden_states, form.input_shape, model)
        check_amount(hidden_states, form, model)
        check_dimensions(options.dimensions, live)
        beside = NOTHING_BESIDE
        if options.branch is not None or mask is not None:
            check_branch(options.branch, form.branches, model)
            check_mask(mask, hidden_states, form, model)
            beside = Beside(mask=mask, branch=options.branch)
        if not form.is_linear:
            await self._check_finite(hidden_states)
        snapshot = await self.choose(live, options)
        product = await self._engine.reduce(ticket, snapshot, hidden_states, beside)
        array = product.array
        if not product.is_finite:
            await self._engine.aside(partial(refuse_non_finite, hidden_states, self._dtype))
        live.counters["rows_reduced"] += len(array)
        if hidden_states.ndim != 2 or not form.is_shared:
            leading = hidden_states.ndim - len(form.input_shape)
            array = array.reshape(*hidden_states.shape[:leading], *array.shape[1:])
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
        shape = live.served.input_shape
        check_shape(hidden_states, shape, model)
        check_dimensions(options.dimensions, live)
        check_branch(options.branch, live.served.branches, model)
        snapshot = await self.choose(live, options)
        width = options.dimensions or snapshot.n_components
        leading = hidden_states.shape[: hidden_states.ndim - len(shape)]
        row = (length or 0 for length in snapshot.output_shape[:-1])
        return Reduced(np.empty((*leading, *row, width), np.float32), snapshot.stamp)

    async def _check_finite(self, hidden_states: FloatArray) -> None:
        """Where layers may hide a NaN or infinity, the product does not show it."""
        if hidden_states.size <= _FINISHED_INLINE:
            check_finite("hidden_states", hidden_states)
        else:
            await self._engine.aside(partial(check_finite, "hidden_states", hidden_states))

    async def _finish(self, array: FloatArray, options: ReduceOptions) -> FloatArray:
        if array.size <= _FINISHED_INLINE:
            return finish(array, options)
        return await self._engine.aside(partial(finish, array, options))

    async def choose(self, live: LiveModel, options: ReduceOptions) -> Snapshot:
        """The version that answers.

        Raises:
            NotFound: it is not retained.
            PreconditionFailed: it is not the required one.
        """
        snapshot = live.served
        if options.version is not None:
            snapshot = await self._asked(live, options.version)
        required = options.require_version
        if required is not None and required != snapshot.stamp.version:
            raise PreconditionFailed(
                "version_mismatch",
                f"version {required} is required; version {snapshot.stamp.version} would answer",
            )
        return snapshot

    async def _asked(self, live: LiveModel, version: Serving) -> Snapshot:
        if version == "live":
            return live.published.live
        newest = live.snapshot
        return newest if version == newest.stamp.version else await self.pinned(live, version)

    async def pinned(self, live: LiveModel, version: int) -> Snapshot:
        """A retained version, ready to multiply.

        Raises:
            NotFound: it is not retained; the message names the nearest ones.
        """
        snapshot = live.pinned(version)
        if snapshot is not None:
            return snapshot
        return await self._reading.join((live, version), partial(self._read, live, version))

    async def _read(self, live: LiveModel, version: int) -> Snapshot:
        snapshot = await asyncio.to_thread(self.load, live.name, version)
        live.pin(snapshot)
        return snapshot

    def load(self, model: str, version: int) -> Snapshot:
        """A retained version, from the disk."""
        return self._engine.snapshot(model, self._service.retained.read(model, version))
