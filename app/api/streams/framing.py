"""Where one record ends and the next begins: bytes in, whole records out, no IO.

Records are cut off one at a time, as they are asked for: a chunk of many small ones costs no more
memory than a chunk of one.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import Protocol

from app.errors import Malformed, TooLarge

_LENGTH = Struct("<I")


class Framing(Protocol):
    """A byte stream cut into records."""

    @property
    def num_bytes(self) -> int:
        """Bytes that wait for the rest of their record."""

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The records that this chunk completes; to be exhausted before the next chunk.

        Raises:
            TooLarge: a record over the limit; where the next one begins is not known any more.
        """

    def end(self) -> Iterator[bytes]:
        """The record that the end of the input completes, if there is one.

        Raises:
            Malformed: the input ends within a record.
        """


class Lines:
    """One record a line; an empty line is none, and the last line needs no newline.

    Args:
        max_bytes: longest line.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._buffer = bytearray()
        self._searched = 0

    @property
    def num_bytes(self) -> int:
        """Bytes that wait for the rest of their record."""
        return len(self._buffer)

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The lines that this chunk completes."""
        self._buffer += chunk
        while (length := self._buffer.find(b"\n", self._searched)) >= 0:
            line = self._cut(length)
            del self._buffer[:1]
            self._searched = 0
            if not _is_empty(line):
                yield line
        self._searched = len(self._buffer)
        self._check(self._searched)

    def end(self) -> Iterator[bytes]:
        """What stands behind the last newline."""
        line = self._cut(len(self._buffer))
        if not _is_empty(line):
            yield line

    def _cut(self, length: int) -> bytes:
        self._check(length)
        return _cut(self._buffer, length)

    def _check(self, length: int) -> None:
        if length > self._max_bytes:
            raise too_large(self._max_bytes)


class Frames:
    """A length (u32, little-endian) before each record.

    Args:
        max_bytes: longest record; a longer one is refused before a byte of it is kept.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._buffer = bytearray()

    @property
    def num_bytes(self) -> int:
        """Bytes that wait for the rest of their record."""
        return len(self._buffer)

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The records that this chunk completes."""
        self._buffer += chunk
        while len(self._buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer)
            if length > self._max_bytes:
                raise too_large(self._max_bytes, "; a frame begins with its length, little-endian")
            if len(self._buffer) < _LENGTH.size + length:
                return
            del self._buffer[: _LENGTH.size]
            yield _cut(self._buffer, length)

    def end(self) -> Iterator[bytes]:
        """Nothing: a record ends where its length says."""
        if self._buffer:
            raise Malformed(
                "incomplete_frame",
                "expected the input to end after a whole frame, got a part of one; send it again",
            )
        return iter(())


def _cut(buffer: bytearray, length: int) -> bytes:
    """Take the first bytes away; a copy, so that they are aligned and the buffer may move."""
    with memoryview(buffer) as view:
        first = bytes(view[:length])
    del buffer[:length]
    return first


def _is_empty(line: bytes) -> bool:
    return not line or line.isspace()


def too_large(max_bytes: int, hint: str = "") -> TooLarge:
    """The refusal of a record over the limit, which ends its stream."""
    return TooLarge(
        "body_too_large",
        f"expected a record of at most {max_bytes} bytes; send smaller batches: "
        f"the stream ends here, because the next record cannot be found{hint}",
    )
