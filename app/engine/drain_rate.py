"""How fast a queue empties, so that whoever is refused is told when to come again."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from time import monotonic

_WINDOW_S = 0.25
_NEWEST_SHARE = 0.5
_LONGEST_S = 60


class DrainRate:
    """What was finished a second, averaged while there was work; newer counts more.

    Threads may share it: what a race can lose is one moment's figure of an estimate.

    Args:
        clock: in seconds.

    Attributes:
        finished: since the last look; whoever finishes something adds to it.
    """

    __slots__ = ("_clock", "_rate", "_since", "finished")

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self.finished = 0
        self._clock = clock
        self._rate = 0.0
        self._since = clock()

    def begin(self) -> None:
        """Work begins after a pause, which says nothing about the rate."""
        self._since = self._clock()
        self.finished = 0

    def wait_s(self, amount: int) -> int:
        """Seconds until so much will have been finished, at least 1 and at most 60."""
        elapsed_s = self._clock() - self._since
        finished = self.finished
        if finished and elapsed_s >= _WINDOW_S:
            newest = finished / elapsed_s
            share = _NEWEST_SHARE if self._rate else 1.0
            self._rate += share * (newest - self._rate)
            self.begin()
        # When nothing was finished for a while, the next thing may take as long again.
        stalled_s = 0.0 if finished else elapsed_s
        expected_s = amount / self._rate if self._rate else 0.0
        return min(_LONGEST_S, max(1, ceil(max(expected_s, stalled_s))))
