"""Writes one journal file: an image of an empty one, and groups of rows into it."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path

from app.errors import OutcomeUnknown
from app.failpoints import reach
from app.storage.journal_row import INSERT, SCHEMA, Begin
from app.storage.system import FAULTS, is_full, named

_PAGE_BYTES = 65_536  # few pages a row: a group of 16 rows of 200 KB takes half the time of 4 KB


def empty_journal(begin: Begin) -> bytes:
    """The content of a journal file without rows."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
        connection.executescript(SCHEMA)
        values = begin.values()
        connection.execute(f"INSERT INTO begin VALUES ({', '.join('?' * len(values))})", values)
        connection.commit()
        image = bytearray(connection.serialize())
    # A database in memory cannot be in WAL mode; the file format says so in these two bytes.
    image[18:20] = b"\x02\x02"
    return bytes(image)


class JournalWriter:
    """One journal file, open for appending; used by one thread at a time.

    Note [The witness]
        SQLite copies the WAL into the database when the last connection closes. After a failed
        sync that must not happen: the kernel may have dropped what it could not write, and would
        call the next sync a success. The witness is a second connection that cannot write; it is
        closed last, so closing never writes or syncs, whatever happened before.

    Args:
        path: of the database, which is there.

    Raises:
        OSError, sqlite3.Error: as the system gives it.
    """

    def __init__(self, path: Path) -> None:
        if not os.access(path.parent, os.W_OK):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        self._path = path
        location = path.absolute().as_uri()
        # Deallocated in the order of assignment: the witness last, even when nobody calls close.
        self._connection = _connected(location + "?mode=rw")
        self._witness = _connected(location + "?mode=ro")
        try:
            # Not NORMAL, which loses rows in a power cut. A row that is being inserted stays in
            # memory, so every write to the file happens within COMMIT.
            for pragma in ("synchronous = FULL", "wal_autocheckpoint = 0", "cache_spill = OFF"):
                self._connection.execute(f"PRAGMA {pragma}")
            for connection in (self._connection, self._witness):
                connection.execute("SELECT model FROM begin").fetchall()  # takes its shared lock
        except FAULTS:
            self.close()
            raise

    def write(self, rows: Sequence[Sequence[object]], action: str) -> None:
        """Makes rows durable, all or none.

        Args:
            rows: of the table `change`.
            action: what is being done, for messages.

        Raises:
            StorageFull, Unavailable: none of them is written.
            OutcomeUnknown: whether they are, only a new start can tell; close, never write again.
        """
        try:
            reach("journal.before_insert")
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany(INSERT, rows)
        except FAULTS as error:
            self._roll_back(action)
            raise named(error, action) from error
        try:
            reach("journal.before_commit")
            self._connection.execute("COMMIT")
        except FAULTS as error:
            # No space is found out before anything is synced: the transaction did not happen.
            if not is_full(error):
                raise _unknown(action) from error
            self._roll_back(action)
            raise named(error, action) from error
        reach("journal.after_commit")

    @property
    def num_bytes(self) -> int:
        """Bytes of the file, with its WAL."""
        return journal_bytes(self._path)

    def close(self) -> None:
        """Gives the file back; writes nothing, by Note [The witness]."""
        self._connection.close()
        self._witness.close()

    def _roll_back(self, action: str) -> None:
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except FAULTS as error:
            raise _unknown(action) from error


def _connected(location: str) -> sqlite3.Connection:
    return sqlite3.connect(location, uri=True, isolation_level=None, check_same_thread=False)


def journal_bytes(path: Path) -> int:
    """Bytes of a journal file, with its WAL."""
    num_bytes = 0
    for part in (path, path.with_name(path.name + "-wal")):
        with suppress(OSError):  # a figure for people: the rows are durable without it
            num_bytes += part.stat().st_size
    return num_bytes


def _unknown(action: str) -> OutcomeUnknown:
    return OutcomeUnknown(
        "outcome_unknown",
        f"the disk failed to {action}; restart the server and ask again, with the same "
        "Idempotency-Key if there was one",
    )
