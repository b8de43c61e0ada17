"""Who presents wrong keys too often: a bucket for each peer, of which there are boundedly many."""

from __future__ import annotations

import math
import time
from collections import OrderedDict

_BURST = 100.0
_PER_S = 10.0
_MAX_PEERS = 4096


class WrongKeys:
    """Counts the wrong keys of each peer: 100 at once, and ten a second.

    Right keys are never held up: a peer may be a proxy with many behind it. Nobody guesses 256
    bits; what this saves is the log and the time of the server.
    """

    def __init__(self) -> None:
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def count(self, peer: str) -> int:
        """Count one more; how many seconds the peer is to wait, 0 while it need not."""
        now = time.monotonic()
        level, then = self._buckets.pop(peer, (0.0, now))
        level = max(0.0, level - (now - then) * _PER_S) + 1
        is_over = level > _BURST
        self._buckets[peer] = (min(level, _BURST + 1), now)
        if len(self._buckets) > _MAX_PEERS:
            self._buckets.popitem(last=False)
        return math.ceil((level - _BURST) / _PER_S) if is_over else 0
