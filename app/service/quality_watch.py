"""Live quality: taken beside the event loop, as often as one hundredth of a CPU pays for.

Every version that is written is held against the one written before it, whatever that costs; what
it costs is paid for too before the next look at quality.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from time import monotonic, thread_time
from typing import TypeVar

from app.engine import Examination, LiveModel, Taken
from app.errors import SlimvecError
from app.types import Compatibility

T = TypeVar("T")

log = logging.getLogger("slimvec.quality")

_SHARE = 0.01
_TICK_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Spent:
    """What looking at a model has cost.

    Attributes:
        at: when its quality was last taken; None before the first time.
        paid_at: when the CPU that all looks took is no more than their share of the time.
    """

    at: float | None
    paid_at: float


class QualityWatch:
    """Takes the quality of live models, into `LiveModel.quality`, and compares written versions.

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
        self._spent: dict[LiveModel, _Spent] = {}
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
        if self._is_news(live, live.snapshot.stamp.version) and self._is_paid(live):
            with suppress(SlimvecError):  # it is being closed
                examination = await asyncio.wrap_future(live.examination())
                if examination is not None:
                    await self._take(live, examination)

    async def compare(self, live: LiveModel, taken: Taken) -> Compatibility | None:
        """Hold a version that is to be written against the one written before it.

        Its quality is taken with it, where that is not known and paid for.
        """
        examination = taken.examination
        if examination is None or not self._every_s:
            return None
        if self._is_news(live, taken.snapshot.stamp.version) and self._is_paid(live):
            await self._take(live, examination)
        look = partial(examination.compatibility, live.checkpointed)
        return await self._look(live, look)

    async def _take(self, live: LiveModel, examination: Examination) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        begin = self._clock()
        found = await self._look(live, partial(examination.quality, at=now))
        if found is not None:
            live.quality = found
            self._spent[live] = replace(self._spent[live], at=begin)

    async def _look(self, live: LiveModel, look: Callable[[], T | None]) -> T | None:
        """Look in another thread, and note what that cost; None where there was too little."""
        begin = self._clock()
        try:
            found, cost_s = await asyncio.to_thread(self._timed, look)
        except Exception as error:  # serving and training know nothing of it
            log.error("versions not looked at", exc_info=error, extra={"model": live.name})
            self._spent[live] = replace(self._spent_on(live, begin), at=begin)
            return None
        spent = self._spent_on(live, begin)
        paid_at = max(begin, spent.paid_at) + cost_s / _SHARE
        self._spent[live] = replace(spent, paid_at=paid_at)
        return found

    def _spent_on(self, live: LiveModel, now: float) -> _Spent:
        return self._spent.get(live, _Spent(at=None, paid_at=now))

    def _is_news(self, live: LiveModel, version: int) -> bool:
        is_known = live.quality is not None and live.quality.version == version
        return live.is_observed and not (self._is_over or is_known or live.is_closed)

    def _is_due(self, live: LiveModel) -> bool:
        spent = self._spent.get(live)
        at = None if spent is None else spent.at
        return at is None or self._clock() - at >= self._every_s

    def _is_paid(self, live: LiveModel) -> bool:
        spent = self._spent.get(live)
        return spent is None or self._clock() >= spent.paid_at

    def _forget_others(self, models: Iterable[LiveModel]) -> None:
        kept = set(models)
        self._spent = {live: spent for live, spent in self._spent.items() if live in kept}

    def _timed(self, look: Callable[[], T]) -> tuple[T, float]:
        """What it finds, and the seconds of CPU that it took."""
        begin = self._cpu_clock()
        found = look()
        return found, self._cpu_clock() - begin
