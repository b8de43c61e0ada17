"""One process at a time on a models directory."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.errors import StartupError

_BUSY = {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES}


@contextmanager
def lock(root: Path) -> Iterator[bool]:
    """Holds the models directory for this process; makes it when it is not there.

    The lock is an flock on the directory itself: no file is left behind, the kernel frees it when
    the process ends in whatever way, and a read-only mount can be locked too.

    Yields:
        Whether the directory can be written; if not, it can still be served from.

    Raises:
        StartupError: exit code 3: another process holds it (`models_dir_locked`), or it cannot be
            used (`models_dir_unusable`).
    """
    directory = _open(root)
    try:
        _take(directory)
        yield os.access(root, os.W_OK | os.X_OK)
    finally:
        os.close(directory)


def _open(root: Path) -> int:
    try:
        root.mkdir(parents=True, exist_ok=True)
        return os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise StartupError(
            "models_dir_unusable",
            f"cannot open the models directory: {_reason(error)}; "
            "point SLIMVEC_MODELS_DIR at a folder",
            exit_code=3,
        ) from error


def _take(directory: int) -> None:
    try:
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _BUSY:
            raise StartupError(
                "models_dir_locked",
                "another process is using the models directory; stop it, or give this one its own "
                "SLIMVEC_MODELS_DIR",
                exit_code=3,
            ) from None
        raise StartupError(
            "models_dir_unusable",
            f"the models directory cannot be locked: {_reason(error)}; "
            "put it on a file system with flock",
            exit_code=3,
        ) from error


def _reason(error: OSError) -> str:
    return os.strerror(error.errno or 0).lower()
