"""The calls into the operating system and SQLite, and what their failures mean."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from app.errors import SlimvecError, StorageFull, Unavailable

FAULTS = (OSError, sqlite3.Error, MemoryError)  # SQLite's own lack of memory is a MemoryError

_FULL = {errno.ENOSPC, errno.EDQUOT}
_READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}
_BY_SQLITE = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_READONLY: errno.EROFS,
    sqlite3.SQLITE_PERM: errno.EPERM,
    sqlite3.SQLITE_BUSY: errno.EBUSY,
    sqlite3.SQLITE_NOMEM: errno.ENOMEM,
    sqlite3.SQLITE_CANTOPEN: errno.ENOENT,
    sqlite3.SQLITE_IOERR_SHMSIZE: errno.ENOSPC,
}


class System:
    """Every call that changes or opens something on disk, so that a test can make any one fail."""

    open = staticmethod(os.open)
    mkdir = staticmethod(os.mkdir)
    write = staticmethod(os.write)
    pwrite = staticmethod(os.pwrite)
    fsync = staticmethod(os.fsync)
    rename = staticmethod(os.rename)
    unlink = staticmethod(os.unlink)
    rmdir = staticmethod(os.rmdir)
    rmtree = staticmethod(shutil.rmtree)


@contextmanager
def storage_errors(action: str) -> Iterator[None]:
    """Turns a fault of the body into the error that says what to do about it.

    Args:
        action: what was being done, for the message: "store version 3 of 'news'".

    Raises:
        StorageFull: `storage_full`.
        Unavailable: `read_only` or `storage_failed`.
    """
    try:
        yield
    except FAULTS as error:
        raise named(error, action) from error


def named(error: BaseException, action: str) -> SlimvecError:
    """The error of ours for a fault of the disk."""
    number = _number(error)
    if number in _FULL:
        return StorageFull("storage_full", f"no space left to {action}; free some and try again")
    if number in _READ_ONLY:
        return Unavailable(
            "read_only", f"cannot {action}: the models directory is read-only for this process"
        )
    reason = os.strerror(number) if number else "unknown error"
    return Unavailable("storage_failed", f"cannot {action}: {reason.lower()}")


def sqlite_codes(error: BaseException) -> tuple[int, int]:
    """SQLite's code of an error and the wider one that it belongs to; zeros for any other error."""
    # The module's own refusals (a closed connection, say) carry no code.
    code = int(getattr(error, "sqlite_errorcode", 0))
    return code, code & 0xFF


def is_full(error: BaseException) -> bool:
    """Whether a write was refused for lack of space; it was then not made."""
    if isinstance(error, OSError):
        return error.errno in _FULL
    return sqlite3.SQLITE_FULL in sqlite_codes(error)


def _number(error: BaseException) -> int:
    if isinstance(error, OSError):
        return error.errno or 0
    if isinstance(error, MemoryError):
        return errno.ENOMEM
    return next((_BY_SQLITE[code] for code in sqlite_codes(error) if code in _BY_SQLITE), errno.EIO)
