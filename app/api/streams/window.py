"""How much of a stream may be on its way at once."""

from __future__ import annotations

import asyncio

_MAX_RECORDS = 32
_MAX_BYTES = 64 << 20
_MOMENT_S = 0.01


class Window:
    """Counts the records that are taken and not settled; one task enters, another leaves.

    While there is no room nothing is read, so that a sender that never pauses is held back by its
    own socket.

    Attributes:
        num_bytes: of the records that are in it.
    """

    def __init__(self) -> None:
        self.num_bytes = 0
        self._num_records = 0
        self._left = asyncio.Event()

    async def room(self) -> None:
        """Wait until another record may be taken; the last one may pass the bound of bytes."""
        while self._num_records >= _MAX_RECORDS or self.num_bytes >= _MAX_BYTES:
            await self.change()

    @property
    def is_empty(self) -> bool:
        """Whether every record is settled."""
        return not self._num_records

    def enter(self, num_bytes: int) -> None:
        """Take a record."""
        self._num_records += 1
        self.num_bytes += num_bytes

    def leave(self, num_bytes: int) -> None:
        """Settle a record."""
        self._num_records -= 1
        self.num_bytes -= num_bytes
        self._left.set()

    async def change(self) -> None:
        """Wait until the oldest record is settled; with none on its way, a moment."""
        if not self._num_records:
            await asyncio.sleep(_MOMENT_S)
            return
        self._left.clear()
        await self._left.wait()
