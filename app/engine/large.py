"""Large work: what would hold up the event loop, on a thread beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from app.engine.batch import Product, outcomes
from app.engine.drain_rate import DrainRate
from app.engine.multiplier import HostMultiplier
from app.engine.out_of_memory import MemoryWatch, is_out_of_memory
from app.engine.snapshot import Snapshot
from app.engine.thread import begin
from app.errors import OutOfMemory, QueueFull
from app.types import FloatArray

T = TypeVar("T")


class LargeWork:
    """One thread, which does one thing after the other, in the order in which they were asked.

    Args:
        memory: told of products that found none.
        most: how many may wait or be done at once; None: as many as admission lets in.
    """

    def __init__(self, memory: MemoryWatch, *, most: int | None = None) -> None:
        self._memory = memory
        self._most = most
        self._asked = 0
        self._done = DrainRate()
        self._multiplier = HostMultiplier()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="reduce")

    def run(self, function: Callable[[], T]) -> asyncio.Future[T]:
        """Call a function there; one that nobody waits for any more is not begun.

        Raises:
            QueueFull: `overloaded`.
            Unavailable: `draining`; awaited, `out_of_memory`.
        """
        if self._asked == self._most:
            raise QueueFull(
                "overloaded",
                f"{self._most} requests are waiting already for what takes seconds each; try again "
                "later",
                retry_after_s=self._done.wait_s(1),
            )
        future = begin(self._thread, partial(_attempt, function))
        if not self._asked:
            self._done.begin()
        self._asked += 1
        future.add_done_callback(self._end)
        return future

    def multiply(self, snapshot: Snapshot, rows: FloatArray) -> asyncio.Future[Product]:
        """Reduce the rows of one request there.

        Shape: rows `(rows, input_size)`.
        """
        return self.run(lambda: self._product(snapshot, rows))

    def close(self) -> None:
        """Begin nothing more."""
        self._thread.shutdown(wait=False)

    def _end(self, _: asyncio.Future[T]) -> None:
        self._asked -= 1
        self._done.finished += 1

    def _product(self, snapshot: Snapshot, rows: FloatArray) -> Product:
        (outcome,) = outcomes(self._multiplier, self._memory, snapshot, [rows])
        try:
            if isinstance(outcome, Exception):
                raise outcome
            return outcome
        finally:
            del outcome  # or this frame and the error would keep each other, and the rows, alive


def _attempt(function: Callable[[], T]) -> T:
    try:
        return function()
    except Exception as error:
        if is_out_of_memory(error):
            raise OutOfMemory() from error
        raise
