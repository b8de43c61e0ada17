"""Alignments: what turns the vectors of one version into the space of another."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from app.engine import Engine, Examination, LiveModel, Snapshot
from app.errors import Conflict, Unacceptable
from app.service.reduce_options import ReduceOptions
from app.service.shared_work import SharedWork
from app.types import Alignment, Serving

if TYPE_CHECKING:
    from app.service.service import Service


class Alignments:
    """The verb of crossing versions.

    Args:
        service: finds models and versions.
        engine: computes, beside the event loop and away from every trainer.
    """

    def __init__(self, service: Service, engine: Engine) -> None:
        self._service = service
        self._engine = engine
        self._looking: SharedWork[tuple[LiveModel, int, int], Alignment | None] = SharedWork()

    async def align(self, model: str, version: int, to: Serving) -> Alignment:
        """What turns the reduced vectors of a version into the space of another.

        Raises:
            NotFound: unknown model, or a version that is not retained.
            Unacceptable: `vectors_only`, `shape_mismatch`.
            Conflict: `nothing_remembered`.
            QueueFull: too many requests in flight.
            Unavailable: `out_of_memory`.
        """
        live = self._service.live(model)
        with self._service.admission.admit():
            choose = self._service.reductions.choose
            source = await choose(live, ReduceOptions(version=version))
            target = await choose(live, ReduceOptions(version=to))
            _check(source, target, model)
            # A look takes long and asking costs nothing: the many who ask the same share one.
            versions = source.stamp.version, target.stamp.version
            look = partial(self._look, live, source, target)
            found = await self._looking.join((live, *versions), look)
        if found is None:
            raise Conflict(
                "nothing_remembered",
                f"model {model!r} remembers too few vectors yet to compare its versions by; "
                "send it some train steps first",
            )
        return found

    async def _look(self, live: LiveModel, source: Snapshot, target: Snapshot) -> Alignment | None:
        examination = await self._examination(live)
        return await self._engine.look(partial(examination.alignment, source, target))

    async def _examination(self, live: LiveModel) -> Examination:
        found = await asyncio.wrap_future(live.examination())
        if found is None:
            raise Conflict(
                "nothing_remembered",
                f"model {live.name!r} remembers no vectors that its versions could be compared by; "
                'create it with the recipe "distil", or with "observe": true',
            )
        return found


def _check(source: Snapshot, target: Snapshot, model: str) -> None:
    """Refuse versions that have no one space of vectors."""
    if len(source.output_shape) != 1:
        raise Unacceptable(
            "vectors_only",
            f"model {model!r} makes more of a row than one vector, and only vectors are aligned",
        )
    shapes = {(each.input_shape, each.output_shape) for each in (source, target)}
    if len(shapes) > 1:
        raise Unacceptable(
            "shape_mismatch",
            "expected two versions of one shape, got two of different ones; only versions that "
            "make vectors of one width of the same vectors are aligned",
        )
