"""Running out of memory: what it looks like, and when that has become a state of the server."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

import torch

# torch's allocator of host memory raises a plain RuntimeError, and so does cuBLAS.
_MARKS = ("can't allocate memory", "not enough memory", "out of memory", "ALLOC_FAILED")
_IN_A_ROW = 3
_RELIEF_S = 30.0


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of torch, numpy or Python itself says that memory is short."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(mark in str(error) for mark in _MARKS)


class MemoryWatch:
    """Counts the batches in a row that found no memory, even in halves.

    After three the server calls itself not ready, until one succeeds, or until none has failed for
    half a minute: a balancer that sends nothing meanwhile would otherwise keep it out for ever.

    Args:
        clock: seconds that only rise.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._failures = 0
        self._last_s = 0.0

    @property
    def is_short(self) -> bool:
        """Whether requests had better go elsewhere."""
        return self._failures >= _IN_A_ROW and self._clock() - self._last_s < _RELIEF_S

    def succeeded(self) -> None:
        """A batch was multiplied."""
        self._failures = 0

    def failed(self) -> None:
        """A batch was given up."""
        self._failures += 1
        self._last_s = self._clock()
