"""The streams that are being read: the end of the server ends them all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.errors import Unavailable


class OpenStreams:
    """Tells every stream, also one that waits for its sender, that the server is ending."""

    def __init__(self) -> None:
        self._deadlines: set[asyncio.Timeout] = set()
        self._is_ending = False

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[None]:
        """Read within this block; the end of the server breaks it off.

        Raises:
            Unavailable: `draining`.
        """
        if self._is_ending:
            raise _draining()
        deadline = asyncio.timeout(None)
        try:
            async with deadline:
                self._deadlines.add(deadline)
                try:
                    yield
                finally:
                    self._deadlines.discard(deadline)
        except TimeoutError:
            if not deadline.expired():
                raise
            raise _draining() from None

    def end(self) -> None:
        """Break off the reading of every stream; what was read is settled and acknowledged."""
        self._is_ending = True
        now = asyncio.get_running_loop().time()
        for deadline in self._deadlines:
            deadline.reschedule(now)


def _draining() -> Unavailable:
    return Unavailable(
        "draining", "the server is shutting down; send this record and those after it again"
    )
