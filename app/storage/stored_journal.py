"""The journal of a model as it lies on the disk: several files, read as one."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path

from app.errors import ArtifactInvalid, SlimvecError
from app.storage.directory import Directory
from app.storage.journal import FileJournal, Place
from app.storage.journal_reader import JournalReader, damaged
from app.storage.journal_row import Begin
from app.storage.layout import MARK, is_of_journal, journal_files, journal_order
from app.storage.mark import Mark, read_mark
from app.storage.torn_tail import torn_bytes
from app.types import Json, Position, StoredRow

logger = logging.getLogger("slimvec.storage")


@dataclass(frozen=True, slots=True)
class StoredJournal:
    """What is there of a journal at one moment.

    Attributes:
        place: where it is.
        mark: which row was acknowledged last; None when that is not known.
        parts: the names of its files and of what is beside them.
    """

    place: Place
    mark: Mark | None
    parts: Sequence[str]

    @classmethod
    def of(cls, place: Place, folder: Directory) -> StoredJournal:
        """What is in a model's open folder."""
        # The mark first: beside a live writer, rows may then be newer than it, and never older.
        mark = read_mark(folder, place.model)
        return cls(place, mark, [name for name in folder.names() if is_of_journal(name)])

    @property
    def files(self) -> list[str]:
        """The names of the databases, oldest first."""
        return journal_files(self.parts)

    def begin(self) -> Position:
        """Before the first row that is still there."""
        return self._begin(self.files[0]).position if self.files else Position(0, 0)

    @property
    def is_unvouched(self) -> bool:
        """Whether there are changes, and no mark that says how many were acknowledged."""
        if MARK in self.parts or not any(map(self._has_changes, self.files)):
            return False
        # Once more: beside a live writer, the mark is there before the first change.
        return not (self.place.folder / MARK).exists()

    def end(self) -> int:
        """The highest row that the mark or the newest file claims; nothing is verified."""
        claims = [self.mark.position.seq if self.mark else 0]
        # Only a claim: where the file is damaged, `rows` says so.
        with suppress(SlimvecError, IndexError), self._reader(self.files[-1]) as reader:
            claims.append(reader.end(reader.begin()).seq)
        return max(claims)

    def rows(self, after: Position) -> Iterator[StoredRow]:
        """The rows after a position, each verified, one at a time.

        Raises:
            ArtifactInvalid: `journal_invalid`, after the rows before the damage.
            Unavailable: `storage_failed`.
        """
        reached, version, before = after, None, None
        for name, begin in self._needed(after):
            if isinstance(begin, ArtifactInvalid):
                raise begin
            self._check_follows(name, begin, reached, before)
            version = begin.version if version is None else version
            with self._reader(name) as reader:
                for row, position in reader.rows(begin, reached, version):
                    self._check_marked(name, position)
                    reached, version = position, row.version
                    yield StoredRow(row, position, begin.environment)
            before = name
        self._check_complete(before or MARK, reached, version)

    def open(self, version: int, position: Position, environment: Json) -> FileJournal:
        """Opens the journal for appending at the position where its rows end.

        The newest file is continued when it was written in the same environment.

        Raises:
            ArtifactInvalid: `journal_invalid`: there are, or were, rows after that position.
            OSError: as the system gives it.
        """
        self._check_complete(MARK, position, version)
        if self.is_unvouched:
            logger.warning("%s", unvouched(self.place.model))
        if self.files:
            newest = self.files[-1]
            self._settle(newest)
            with self._reader(newest) as reader:
                begin = reader.begin()
                end = reader.end(begin)
            if end.seq >= position.seq and end != position:
                what = f"it ends at row {end.seq}, expected {position.seq}"
                raise damaged(self.place.model, newest, what, version)
            if end == position and begin.is_same_environment(environment):
                return FileJournal(self.place, begin, position, newest)
        begin = Begin(self.place.model, version, position, environment)
        return FileJournal(self.place, begin, position, None)

    def parts_before(self, position: Position) -> list[str]:
        """The files, with what is beside them, whose rows all lie before a position."""
        for name in reversed(self.files):
            if self._begin(name).position.seq <= position.seq:
                first = journal_order(name)
                parts = (part for part in self.parts if part != MARK)
                # Databases before their WALs: a WAL alone holds nothing up.
                return sorted(part for part in parts if journal_order(part) < first)
        return []

    def _needed(self, after: Position) -> list[tuple[str, Begin | ArtifactInvalid]]:
        """The files that hold the rows after a position, oldest first, with their heads."""
        found: list[tuple[str, Begin | ArtifactInvalid]] = []
        for name in reversed(self.files):
            try:
                begin = self._begin(name)
            except ArtifactInvalid as error:
                found.append((name, error))
                continue
            found.append((name, begin))
            if begin.position.seq <= after.seq:
                break
        return found[::-1]

    def _begin(self, name: str) -> Begin:
        return JournalReader.head(self.place.folder / name, self.place.model)

    def _reader(self, name: str) -> AbstractContextManager[JournalReader]:
        return JournalReader.at(self.place.folder / name, self.place.model)

    def _has_changes(self, name: str) -> bool:
        # A shortened WAL may have no row that can be read; it had some.
        with suppress(OSError):
            if (self.place.folder / f"{name}-wal").stat().st_size:
                return True
        with suppress(SlimvecError), self._reader(name) as reader:
            begin = reader.begin()
            return reader.end(begin) != begin.position
        return False

    def _check_follows(
        self, name: str, begin: Begin, reached: Position, before: str | None
    ) -> None:
        """Whether a file goes on where the one before it, or the checkpoint, ended."""
        is_inside = before is None and begin.position.seq < reached.seq
        if is_inside or begin.position == reached:
            return
        what = (
            f"it begins after row {begin.position.seq}, and what is before it "
            f"({before or 'the checkpoint'}) ends at row {reached.seq}"
        )
        raise damaged(self.place.model, name, what, begin.version)

    def _check_marked(self, name: str, reached: Position) -> None:
        if self.mark and self.mark.position.seq == reached.seq and self.mark.position != reached:
            what = f"row {reached.seq} is not the one that was acknowledged"
            raise damaged(self.place.model, name, what, self.mark.version)

    def _check_complete(self, name: str, reached: Position, version: int | None) -> None:
        if self.mark and self.mark.position.seq > reached.seq:
            what = (
                f"row {self.mark.position.seq} (version {self.mark.version}) was acknowledged, and "
                f"the rows end at {reached.seq}"
            )
            raise damaged(self.place.model, name, what, version)

    def _settle(self, name: str) -> None:
        """Makes durable what a killed process may have left in the page cache only.

        Its rows are about to be served, and what was seen must not vanish in a power cut.
        """
        wal = self.place.folder / f"{name}-wal"
        with suppress(FileNotFoundError):
            _sync(wal, self.place)
            if torn := torn_bytes(wal):
                logger.info(
                    "%s of '%s' ends in %d bytes that are no whole transaction; nothing in them "
                    "is marked as acknowledged",
                    wal.name,
                    self.place.model,
                    torn,
                )


def unvouched(model: str) -> str:
    """What it means that the mark is missing."""
    return (
        f"{MARK} of '{model}' is missing, so nothing says whether its newest changes are all "
        "there; if they matter, restore it from a backup together with the journal; the next "
        "change writes a new one"
    )


def _sync(path: Path, place: Place) -> None:
    file = place.system.open(path, os.O_RDONLY)
    try:
        place.system.fsync(file)
    finally:
        os.close(file)
