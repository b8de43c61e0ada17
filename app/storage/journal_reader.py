"""Reads one journal file, and believes nothing that it cannot check.

Note [No checkpoint into the database]
    The database holds the tables and the row `begin` from the moment that it is there; every
    change is in the WAL and stays in it, because a file lives for a few checkpoints of the model
    only and moving its rows would write each byte twice. So the database never changes and the WAL
    only grows: a file can be copied, and read from a read-only disk, while it is being written.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from app.errors import ArtifactInvalid, SlimvecError
from app.storage.journal_row import COLUMNS, Begin, unseal
from app.storage.layout import MARK, journal_order
from app.storage.system import named, sqlite_codes, storage_errors
from app.types import JournalRow, Position

_MAX_VALUE_BYTES = 1 << 30
_NO_WAL = "&immutable=1"
# These say something about the process or the machine; every other error says that the file is bad.
_OF_THE_PROCESS = {
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR_SHMOPEN,
    sqlite3.SQLITE_IOERR_SHMSIZE,
    sqlite3.SQLITE_IOERR_SHMMAP,
    sqlite3.SQLITE_IOERR_SHMLOCK,
}


class JournalReader:
    """One journal file, open for reading.

    Methods raise ArtifactInvalid `journal_invalid` where the file is damaged, and Unavailable
    where the machine is at fault.

    Args:
        connection: to its database.
        model: whose journal it should be.
        name: of the file, for messages.
    """

    def __init__(self, connection: sqlite3.Connection, model: str, name: str) -> None:
        self._connection = connection
        self._model = model
        self._name = name

    @classmethod
    @contextmanager
    def at(cls, path: Path, model: str) -> Iterator[JournalReader]:
        """Opens a file for the time of the body."""
        _check_file(path, model)
        with _faults(model, path.name):
            connection = _connect(path)
        try:
            yield cls(connection, model, path.name)
        finally:
            connection.close()

    @classmethod
    def head(cls, path: Path, model: str) -> Begin:
        """See `begin`; needs neither WAL nor index, and so no space on the disk.

        By Note [No checkpoint into the database] the head is in the database itself.
        """
        _check_file(path, model)
        with _faults(model, path.name):
            connection = _open(_location(path) + _NO_WAL)
        with closing(connection):
            return cls(connection, model, path.name).begin()

    def begin(self) -> Begin:
        """The head of the file: it must be this model's, and of the version in the file's name."""
        with _faults(self._model, self._name):
            rows = self._connection.execute("SELECT * FROM begin LIMIT 2").fetchall()
        begin = Begin.from_values(rows[0]) if len(rows) == 1 else None
        if begin is None:
            raise damaged(self._model, self._name, "its first page cannot be read")
        if begin.model != self._model:
            raise ArtifactInvalid(
                f"{self._name} in the folder of '{self._model}' is the journal of "
                f"'{begin.model[:64]}': if the folder was renamed, give it that name again; if the "
                "file came here by mistake, use: "
                f"slimvec repair {self._model} --recover=last-good",
                code="journal_invalid",
            )
        if begin.version != journal_order(self._name)[0]:
            raise damaged(self._model, self._name, f"it begins at version {begin.version}")
        return begin

    def end(self, begin: Begin) -> Position:
        """The last position that the file claims; the rows before it are not looked at."""
        query = "SELECT seq, crc FROM change ORDER BY seq DESC LIMIT 1"
        with _faults(self._model, self._name):
            rows = self._connection.execute(query).fetchall()
        return Position(*rows[0]) if rows else begin.position

    def rows(
        self, begin: Begin, after: Position, version: int
    ) -> Iterator[tuple[JournalRow, Position]]:
        """The rows after a position, one at a time, each checked against the one before it.

        Args:
            begin: the head of the file.
            after: where the rows before this file, or the checkpoint, end.
            version: the model's version there, for messages.
        """
        head = begin.crc
        query = f"SELECT {COLUMNS} FROM change WHERE seq > ? ORDER BY seq"
        with _faults(self._model, self._name, version):
            for values in self._connection.execute(query, (after.seq,)):
                checked = unseal(values, after, head)
                if checked is None:
                    what = f"row {after.seq + 1} is missing or differs from its checksum"
                    raise damaged(self._model, self._name, what, version)
                row, after = checked
                version = row.version
                yield checked


def damaged(model: str, name: str, what: str, version: int | None = None) -> ArtifactInvalid:
    """The error that names the file, the last good version before the damage and the way out."""
    if version is None and name != MARK:
        version, _ = journal_order(name)
    where = f" after version {version}" if version is not None else ""
    return ArtifactInvalid(
        f"{name} of '{model}' is damaged{where}: {what}; to go on with what is before that, "
        f"use: slimvec repair {model} --recover=last-good",
        code="journal_invalid",
    )


@contextmanager
def _faults(model: str, name: str, version: int | None = None) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, MemoryError, UnicodeDecodeError) as error:
        # The last: SQLite's message quotes a name in the file that is damaged.
        raise _fault(error, model, name, version) from error


def _fault(error: Exception, model: str, name: str, version: int | None) -> SlimvecError:
    if isinstance(error, MemoryError) or not _OF_THE_PROCESS.isdisjoint(sqlite_codes(error)):
        return named(error, f"read {name} of '{model}'")
    return damaged(model, name, "SQLite cannot read it", version)


def _check_file(path: Path, model: str) -> None:
    with storage_errors(f"read {path.name} of '{model}'"):
        status = path.lstat()
    # SQLite would wait for the writer of a FIFO, and delete the WAL of an empty database.
    if not stat.S_ISREG(status.st_mode) or not status.st_size:
        raise damaged(model, path.name, "it is empty, or not a file")


def _connect(path: Path) -> sqlite3.Connection:
    if not _has_wal(path):
        return _open(_location(path) + _NO_WAL)
    if os.access(path.parent, os.W_OK):
        return _open(_location(path))
    # No -shm can be made here, so the index of the WAL is held in memory; nobody needs locks, by
    # Note [No checkpoint into the database].
    connection = _open(_location(path) + "&vfs=unix-none")
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    return connection


def _location(path: Path) -> str:
    return path.absolute().as_uri() + "?mode=ro"


def _open(location: str) -> sqlite3.Connection:
    # A generator over rows may be resumed by another thread; never by two at once.
    connection = sqlite3.connect(location, uri=True, check_same_thread=False)
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MAX_VALUE_BYTES)
    return connection


def _has_wal(path: Path) -> bool:
    try:
        return path.with_name(path.name + "-wal").stat().st_size > 0
    except FileNotFoundError:
        return False
