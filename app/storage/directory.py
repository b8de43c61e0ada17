"""An open directory: everything in it is reached by name, and never through a symlink."""

from __future__ import annotations

import errno
import logging
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.errors import ArtifactInvalid
from app.storage.system import System

logger = logging.getLogger("slimvec.storage")

# Errors that say something about this one file, and not about the process (as EMFILE would).
_FILE_FAULTS = {errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENXIO, errno.ENODEV, errno.EIO}


class Directory:
    """A directory by its descriptor. Methods raise OSError as the system gives it.

    Args:
        system: the operating-system calls.
        descriptor: open while this object is used.
    """

    def __init__(self, system: System, descriptor: int) -> None:
        self._system = system
        self._descriptor = descriptor

    @classmethod
    @contextmanager
    def at(cls, path: Path, system: System) -> Iterator[Directory]:
        """The directory at a path of the operator's, symlinks followed."""
        descriptor = system.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            yield cls(system, descriptor)
        finally:
            os.close(descriptor)

    @contextmanager
    def folder(self, name: str) -> Iterator[Directory]:
        """A directory in this one; a symlink to one raises NotADirectoryError."""
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
        try:
            descriptor = self._system.open(name, flags, dir_fd=self._descriptor)
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            raise NotADirectoryError(errno.ENOTDIR, "not a directory") from error
        try:
            yield Directory(self._system, descriptor)
        finally:
            os.close(descriptor)

    def names(self) -> list[str]:
        """What is in the directory, sorted."""
        return sorted(os.listdir(self._descriptor))  # noqa: PTH208 pathlib has no descriptors

    def has(self, name: str) -> bool:
        """Whether anything has that name."""
        return self._mode(name) != 0

    def has_folder(self, name: str) -> bool:
        """Whether a directory, not a symlink to one, has that name."""
        return stat.S_ISDIR(self._mode(name))

    def is_at(self, path: Path) -> bool:
        """Whether this is still the directory at that path."""
        try:
            return os.path.samestat(path.lstat(), os.fstat(self._descriptor))
        except FileNotFoundError:
            return False

    def make(self, name: str) -> None:
        """Makes a directory in this one."""
        self._system.mkdir(name, dir_fd=self._descriptor)

    def unmake(self, name: str) -> None:
        """Removes an empty directory."""
        self._system.rmdir(name, dir_fd=self._descriptor)

    def rename(self, old: str, new: str) -> None:
        """Renames within this directory."""
        self._system.rename(old, new, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)

    def move(self, name: str, into: Directory) -> None:
        """Renames into another directory."""
        self._system.rename(name, name, src_dir_fd=self._descriptor, dst_dir_fd=into._descriptor)

    def unlink(self, name: str) -> None:
        """Removes a file."""
        self._system.unlink(name, dir_fd=self._descriptor)

    def num_bytes(self) -> int:
        """Bytes of the files in this directory, not in those below it."""
        found = map(self._status, self.names())
        return sum(status.st_size for status in found if status)

    def sync(self) -> None:
        """Makes the names in this directory durable."""
        self._system.fsync(self._descriptor)

    def clear(self, name: str) -> None:
        """Removes a file, or a directory with its content, as far as it can.

        The next start tries again.
        """
        try:
            if self.has_folder(name):
                self._system.rmtree(name, dir_fd=self._descriptor)
            else:
                self.unlink(name)
        except FileNotFoundError:
            pass
        except OSError as error:
            logger.warning("could not remove %r: %s", name, error.strerror)

    def write(self, name: str, content: bytes) -> None:
        """Writes a new file and makes its content durable."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        file = self._system.open(name, flags, 0o644, dir_fd=self._descriptor)
        try:
            rest = memoryview(content)
            while rest:
                # A nearly full disk takes a part and says so; the next call then raises ENOSPC.
                rest = rest[self._system.write(file, rest) :]
            self._system.fsync(file)
        finally:
            os.close(file)

    def read(self, name: str, *, max_bytes: int) -> bytes | None:
        """The content of a file; None when there is none of that name.

        Raises:
            ArtifactInvalid: not a regular file, empty, too large, or not readable.
            OSError: a fault that is not the file's own.
        """
        # O_NONBLOCK: opening a FIFO would otherwise wait for its writer for ever.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            file = self._system.open(name, flags, dir_fd=self._descriptor)
            try:
                return _read_all(file, name, max_bytes)
            finally:
                os.close(file)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno not in _FILE_FAULTS:
                raise
            reason = os.strerror(error.errno).lower()
            raise ArtifactInvalid(f"{name} cannot be read: {reason}") from error

    def _mode(self, name: str) -> int:
        status = self._status(name)
        return status.st_mode if status else 0

    def _status(self, name: str) -> os.stat_result | None:
        try:
            return os.stat(name, dir_fd=self._descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return None


def _read_all(file: int, name: str, max_bytes: int) -> bytes:
    status = os.fstat(file)
    if not stat.S_ISREG(status.st_mode):
        raise ArtifactInvalid(f"{name} is not a regular file")
    if not 0 < status.st_size <= max_bytes:
        raise ArtifactInvalid(f"expected a {name} of 1 to {max_bytes} bytes, got {status.st_size}")
    with open(file, "rb", closefd=False) as stream:
        content = stream.read(status.st_size)
    if len(content) != status.st_size:
        raise ArtifactInvalid(f"{name} became shorter while it was read")
    return content
