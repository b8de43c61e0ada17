"""The calls into the operating system, and what their failures mean."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from app.errors import SlimvecError, StorageFull, Unavailable

_FULL = {errno.ENOSPC, errno.EDQUOT}
_READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}


class System:
    """Every call that changes or opens something on disk, so that a test can make any one fail."""

    open = staticmethod(os.open)
    mkdir = staticmethod(os.mkdir)
    write = staticmethod(os.write)
    fsync = staticmethod(os.fsync)
    rename = staticmethod(os.rename)
    rmdir = staticmethod(os.rmdir)
    rmtree = staticmethod(shutil.rmtree)


@contextmanager
def storage_errors(action: str) -> Iterator[None]:
    """Turns an OSError of the body into the error that says what to do about it.

    Args:
        action: what was being done, for the message: "store version 3 of 'news'".

    Raises:
        StorageFull: `storage_full`.
        Unavailable: `read_only` or `storage_failed`.
    """
    try:
        yield
    except OSError as error:
        raise _named(error.errno, action) from error


def _named(number: int | None, action: str) -> SlimvecError:
    if number in _FULL:
        return StorageFull("storage_full", f"no space left to {action}; free some and try again")
    if number in _READ_ONLY:
        return Unavailable(
            "read_only", f"cannot {action}: the models directory is read-only for this process"
        )
    reason = os.strerror(number) if number else "unknown error"
    return Unavailable("storage_failed", f"cannot {action}: {reason.lower()}")
