"""The mark of a journal: which row was acknowledged last.

Note [The mark]
    SQLite takes a shortened or flipped WAL for a torn tail, cuts it off and says nothing; so do we
    all with a file that is gone. `journal.mark` is what tells that apart: after each durable
    commit, before the answer, the row's number is written there without a sync. After a kill it is
    exact, and rows that it names and nobody can read back were lost. After a power cut it may be
    older than the rows, never newer, for they were on the disk before it was written.
"""

from __future__ import annotations

import logging
import os
import struct
from dataclasses import dataclass
from pathlib import Path

from app.errors import ArtifactInvalid
from app.storage.directory import Directory
from app.storage.journal_row import checksum
from app.storage.layout import MARK
from app.storage.system import FAULTS, System, named
from app.types import Position

logger = logging.getLogger("slimvec.storage")

_FORM = struct.Struct("<8sqqII")
_MAGIC = b"svmark01"


@dataclass(frozen=True, slots=True)
class Mark:
    """The row that was acknowledged last, and the model's version with it."""

    position: Position
    version: int

    def encode(self, model: str) -> bytes:
        """The content of the file; it vouches for this model only."""
        fields = (self.position.seq, self.version, self.position.chain)
        return _FORM.pack(_MAGIC, *fields, checksum((model, *fields)))

    @classmethod
    def decode(cls, content: bytes, model: str) -> Mark | None:
        """What was encoded, or None when that is damaged."""
        if len(content) != _FORM.size:
            return None
        magic, seq, version, chain, crc = _FORM.unpack(content)
        if magic != _MAGIC or checksum((model, seq, version, chain)) != crc:
            return None
        return cls(Position(seq, chain), version)


def read_mark(folder: Directory, model: str) -> Mark | None:
    """The mark of a model; None when there is none, or a damaged one, which is said."""
    try:
        content = folder.read(MARK, max_bytes=_FORM.size)
    except ArtifactInvalid:
        content = b""
    if content is None:
        return None
    mark = Mark.decode(content, model)
    if mark is None:
        logger.warning("%s of '%s' is damaged; nothing else depends on it", MARK, model)
    return mark


class MarkFile:
    """The mark, open for writing.

    Args:
        folder: the model's folder.
        model: whose mark it is.
        system: the operating-system calls.
    """

    def __init__(self, folder: Path, model: str, system: System) -> None:
        self._model = model
        self._system = system
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW
        self._file = system.open(folder / MARK, flags, 0o644)

    def write(self, mark: Mark) -> None:
        """Sets the mark; the rows are durable whether that succeeds or not."""
        try:
            self._system.pwrite(self._file, mark.encode(self._model), 0)
        except FAULTS as error:
            logger.warning("%s", named(error, f"write {MARK} of '{self._model}'").detail)

    def close(self) -> None:
        """Gives the file back."""
        os.close(self._file)
