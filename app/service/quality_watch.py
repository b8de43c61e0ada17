"""Live quality: taken beside the event loop, as often as one hundredth of a CPU pays for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic, thread_time

from app.engine import Examination, LiveModel
from app.errors import SlimvecError
from app.types import QualityDescription

log = logging.getLogger("slimvec.quality")

_SHARE = 0.01
_TICK_S = 1.0


@dataclass(frozen=True, slots=True)
class _Taken:
    """When a model's quality was last taken, and the seconds of CPU that it took."""

    at: float
    cost_s: float


class QualityWatch:
    """Takes the quality of live models, into `LiveModel.quality`.

    Args:
        every_s: seconds between two looks at a model; 0: it never looks.
        clock: in seconds.
        cpu_clock: seconds that the thread which asks has computed for.
    """

    def __init__(
        self,
        every_s: float,
        clock: Callable[[], float] = monotonic,
        cpu_clock: Callable[[], float] = thread_time,
    ) -> None:
        self._every_s = every_s
        self._clock = clock
        self._cpu_clock = cpu_clock
        self._taken: dict[LiveModel, _Taken] = {}
        self._is_over = every_s == 0

    async def run(self, models: dict[str, LiveModel]) -> None:
        """The cadence, until cancelled; nothing is taken afterwards."""
        try:
            while not self._is_over:
                self._forget_others(models.values())
                for live in list(models.values()):  # a thread may add or remove one meanwhile
                    if self._is_due(live):
                        await self.take(live)
                await asyncio.sleep(min(_TICK_S, self._every_s))
        finally:
            self._is_over = True

    async def take(self, live: LiveModel) -> None:
        """Take a model's quality, unless it is known, or the last time is not paid for."""
        if not self._is_news(live) or not self._is_paid(live):
            return
        begin = self._clock()
        try:
            examination = await asyncio.wrap_future(live.examination())
            if examination is None:
                return
            found, cost_s = await asyncio.to_thread(self._timed, examination)
            if found is not None:  # there was enough to look at
                live.quality = found
                self._taken[live] = _Taken(begin, cost_s)
        except SlimvecError:
            return  # it is being closed
        except Exception as error:  # serving and training know nothing of it
            self._taken[live] = _Taken(begin, 0.0)
            log.error("quality not taken", exc_info=error, extra={"model": live.name})

    def _is_news(self, live: LiveModel) -> bool:
        known = live.quality is not None and live.quality.version == live.snapshot.stamp.version
        return live.is_observed and not (self._is_over or known or live.is_closed)

    def _is_due(self, live: LiveModel) -> bool:
        taken = self._taken.get(live)
        return taken is None or self._clock() - taken.at >= self._every_s

    def _is_paid(self, live: LiveModel) -> bool:
        taken = self._taken.get(live)
        return taken is None or self._clock() - taken.at >= taken.cost_s / _SHARE

    def _forget_others(self, models: Iterable[LiveModel]) -> None:
        kept = set(models)
        self._taken = {live: taken for live, taken in self._taken.items() if live in kept}

    def _timed(self, examination: Examination) -> tuple[QualityDescription | None, float]:
        """What it finds, and the seconds of CPU that it took."""
        begin = self._cpu_clock()
        found = examination(at=datetime.now(UTC).isoformat(timespec="milliseconds"))
        return found, self._cpu_clock() - begin
