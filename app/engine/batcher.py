"""The batcher: requests that are ready in the same turn of the event loop share one product."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial

from app.engine.batch import Entry, Outcome, Product
from app.engine.snapshot import Snapshot
from app.engine.thread import begin
from app.errors import Unavailable
from app.types import FloatArray


class Batcher:
    """Collects what comes within one turn of the loop; there is no timer, and nobody waits for one.

    While turns bring one request each, it is multiplied at once. After a turn that brought several,
    those of the next one wait for its end (by `call_soon`, so behind whatever was ready) and share
    their products: one for each snapshot and each `most_rows` rows.

    With a thread, products run there, one at a time, and what comes meanwhile shares the next one.

    Used from the event loop's thread only.

    Args:
        multiply: makes the products of one batch; never raises.
        most_rows: of one product with this snapshot; a request of more goes alone.
        sharing_rows: most rows of a request that gains by sharing; on the loop, one of more is
            multiplied at once.
        thread: where products run; None: on the event loop.
    """

    def __init__(
        self,
        multiply: Callable[[Snapshot, list[FloatArray]], list[Outcome]],
        *,
        most_rows: Callable[[Snapshot], int],
        sharing_rows: int,
        thread: Executor | None = None,
    ) -> None:
        self._multiply = multiply
        self._most_rows = most_rows
        self._sharing_rows = sharing_rows
        self._thread = thread
        self._waiting: dict[Snapshot, deque[Entry]] = {}
        self._num_seen = 0
        self._is_crowded = False
        self._is_busy = False

    def reduce(self, snapshot: Snapshot, rows: FloatArray) -> asyncio.Future[Product]:
        """Multiply with this very snapshot, now or at the end of the turn.

        Shape: rows `(rows, input_size)`.
        """
        loop = asyncio.get_running_loop()
        entry = Entry(rows, loop.create_future())
        self._num_seen += 1
        if self._num_seen == 1:
            loop.call_soon(self._end_turn)
        shares = self._is_crowded or self._num_seen > 1
        if self._thread is None and (not shares or len(rows) > self._sharing_rows):
            self._settle([entry], self._multiply(snapshot, [rows]))
            return entry.answer
        self._waiting.setdefault(snapshot, deque()).append(entry)
        return entry.answer

    def _end_turn(self) -> None:
        self._is_crowded = self._num_seen > 1
        self._num_seen = 0
        self._begin()

    def _begin(self) -> None:
        while self._waiting and not self._is_busy:
            snapshot, batch = self._take()
            if not batch:
                continue
            parts = [entry.rows for entry in batch]
            if self._thread is None:
                self._settle(batch, self._multiply(snapshot, parts))
                continue
            try:
                work = begin(self._thread, partial(self._multiply, snapshot, parts))
            except Unavailable as error:  # and whoever waits must not wait for ever
                self._settle(batch, [error] * len(batch))
                continue
            self._is_busy = True
            work.add_done_callback(partial(self._finish, batch))

    def _finish(self, batch: list[Entry], work: asyncio.Future[list[Outcome]]) -> None:
        self._is_busy = False
        self._settle(batch, work.result())
        self._begin()

    def _take(self) -> tuple[Snapshot, list[Entry]]:
        """The next batch, without those whose client has gone; perhaps nobody is left."""
        snapshot = next(iter(self._waiting))
        queue, most_rows = self._waiting[snapshot], self._most_rows(snapshot)
        batch: list[Entry] = []
        num_rows = 0
        while queue and (not batch or num_rows + len(queue[0].rows) <= most_rows):
            entry = queue.popleft()
            if not entry.answer.done():
                batch.append(entry)
                num_rows += len(entry.rows)
        del self._waiting[snapshot]
        if queue:
            self._waiting[snapshot] = queue  # behind the others, so that each has its turn
        return snapshot, batch

    def _settle(self, batch: list[Entry], found: list[Outcome]) -> None:
        for entry, outcome in zip(batch, found, strict=True):
            entry.settle(outcome)
