"""How much of a WAL is an unfinished transaction; SQLite cuts it off without a word."""

from __future__ import annotations

import os
from pathlib import Path

_HEADER_BYTES, _FRAME_HEADER_BYTES = 32, 24
_PAGE_SIZE, _SALTS = slice(8, 12), slice(16, 24)
_COMMITTED_PAGES, _FRAME_SALTS = slice(4, 8), slice(8, 16)


def torn_bytes(wal: Path) -> int:
    """Bytes behind the last frame that ends a transaction; checksums are left to SQLite.

    Source: https://www.sqlite.org/fileformat2.html, section 4.1, "WAL File Format".
    """
    with wal.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        header = file.read(_HEADER_BYTES)
        step = _FRAME_HEADER_BYTES + int.from_bytes(header[_PAGE_SIZE])
        end = min(_HEADER_BYTES, size)
        for start in range(_HEADER_BYTES, size - step + 1, step):
            file.seek(start)
            frame = file.read(_FRAME_HEADER_BYTES)
            if frame[_FRAME_SALTS] != header[_SALTS]:
                break
            if any(frame[_COMMITTED_PAGES]):
                end = start + step
    return size - end
