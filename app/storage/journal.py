"""The journal of one live model: one connection, one commit a group."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from app.errors import OutcomeUnknown, Unavailable
from app.failpoints import reach
from app.storage.directory import Directory
from app.storage.journal_reader import JournalReader, damaged
from app.storage.journal_row import Begin, seal
from app.storage.journal_writer import JournalWriter, empty_journal, journal_bytes
from app.storage.layout import SIDE_FILES, journal_name
from app.storage.mark import Mark, MarkFile
from app.storage.system import System, storage_errors
from app.storage.transaction import add_file
from app.types import JournalRow, Position


@dataclass(frozen=True, slots=True)
class Place:
    """Where the journal of a model is.

    Attributes:
        folder: the model's folder.
        model: its name.
        system: the operating-system calls.
    """

    folder: Path
    model: str
    system: System


class FileJournal:
    """Appends to the newest journal file of a model, and begins new ones; see `app.types.Journal`.

    The trainer's thread appends and rotates: a thread of the journal's own would cost two hops a
    group. Whoever closes may be another thread, and comes after or between them.

    A file is made by the first `append` that needs it, so a model that is never trained has none,
    and a rotation on a full disk succeeds.

    Args:
        place: where it is.
        begin: the head of the file that is appended to, there or still to be made.
        position: where the journal ends.
        name: the file that is continued; None where one is still to be made.
    """

    def __init__(self, place: Place, begin: Begin, position: Position, name: str | None) -> None:
        self._place = place
        self._begin = begin
        self._position = position
        self._name = name
        self._num_bytes = journal_bytes(place.folder / name) if name else 0
        self._action = f"write the journal of '{place.model}'"
        self._writer: JournalWriter | None = None
        self._mark: MarkFile | None = None
        self._head = begin.crc
        self._has_failed = False
        self._is_closed = False
        self._in_use = Lock()

    @property
    def position(self) -> Position:
        """Behind the last durable row."""
        return self._position

    @property
    def num_bytes(self) -> int:
        """Bytes of the file that is being written."""
        return self._num_bytes

    def append(self, rows: Sequence[JournalRow]) -> None:
        """Makes rows durable in one transaction, all or none; then marks the last of them.

        Raises:
            StorageFull: `storage_full`; works again when space returns.
            Unavailable: `read_only` or `storage_failed`; nothing was written.
            OutcomeUnknown: every later call is refused with `storage_failed`.
        """
        with self._guarded():
            self._append(rows)

    def rotate(self, version: int) -> Position:
        """Lets the next row begin the file of this version, unless that is the present one.

        Returns:
            Where the journal ends: what a checkpoint of that version has behind it.

        Raises:
            Unavailable: `storage_failed` after OutcomeUnknown.
        """
        with self._guarded():
            return self._rotate(version)

    def close(self) -> None:
        """Gives the files back; writes nothing, and nothing is written after it."""
        with self._in_use:
            self._is_closed = True
            self._close_writer()
            if self._mark:
                self._mark.close()
                self._mark = None

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        with self._in_use:
            if self._has_failed:
                # A second sync might be called a success by a kernel that dropped what the first
                # one could not write.
                raise Unavailable(
                    "storage_failed",
                    f"the disk failed while the journal of '{self._place.model}' was written; "
                    "restart the server to train again",
                )
            if self._is_closed:
                raise Unavailable("draining", "the model is shutting down; nothing was written")
            try:
                yield
            except OutcomeUnknown:
                self._has_failed = True
                raise

    def _append(self, rows: Sequence[JournalRow]) -> None:
        if not rows:
            return
        sealed, position = seal(rows, self._position, self._head)
        with storage_errors(self._action):
            writer = self._writer or self._open()
            mark = self._mark or self._open_mark()
        writer.write(sealed, self._action)
        self._position = position
        self._num_bytes = writer.num_bytes
        mark.write(Mark(position, rows[-1].version))

    def _rotate(self, version: int) -> Position:
        if version != self._begin.version:
            environment = self._begin.environment
            self._begin = Begin(self._place.model, version, self._position, environment)
            self._head = self._begin.crc
            self._close_writer()
            self._name, self._num_bytes = None, 0
        return self._position

    def _open(self) -> JournalWriter:
        place = self._place
        if self._name is None:
            reach("journal.before_rotate")
            with Directory.at(place.folder, place.system) as folder:
                name = _free_name(folder, place, self._begin)
                add_file(folder, name, empty_journal(self._begin))
            self._name = name
            reach("journal.after_rotate")
        self._writer = JournalWriter(place.folder / self._name)
        return self._writer

    def _open_mark(self) -> MarkFile:
        self._mark = MarkFile(self._place.folder, self._place.model, self._place.system)
        return self._mark

    def _close_writer(self) -> None:
        if self._writer:
            self._writer.close()
            self._writer = None


def _free_name(folder: Directory, place: Place, begin: Begin) -> str:
    """A name for a new file: one that has no rows under it.

    Two files begin at the same version when only the environment changed between them, or rows
    were written that make no version.
    """
    for name in (journal_name(begin.version), journal_name(begin.version, begin.position.seq)):
        parts = [part for part in (name, *(name + side for side in SIDE_FILES)) if folder.has(part)]
        if not parts:
            return name
        if name in parts and _is_without_rows(place, name):
            for part in parts:
                folder.unlink(part)
            return name
    raise damaged(place.model, name, "it holds rows after the place where the journal ends")


def _is_without_rows(place: Place, name: str) -> bool:
    with JournalReader.at(place.folder / name, place.model) as reader:
        begin = reader.begin()
        return reader.end(begin) == begin.position
