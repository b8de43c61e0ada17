"""How a folder or file comes and goes: whole, at one moment, by a rename."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from uuid import uuid4

from app.failpoints import reach
from app.storage.directory import Directory
from app.storage.version import write_files
from app.types import VersionFiles

# Dot-names: never a model, never a version. What was set aside is never removed by us.
_PARTIAL, _REMOVED, _DAMAGED = ".partial-", ".removed-", ".damaged-"


def add(folder: Directory, name: str, files: VersionFiles) -> None:
    """Adds a version folder: durable when this returns, absent when it raises."""
    with _made_whole(folder, name) as partial:
        reach("ckpt.before_write")
        folder.make(partial)
        with folder.folder(partial) as inside:
            write_files(inside, files)
        reach("ckpt.after_fsync")
        folder.rename(partial, name)
        reach("ckpt.after_rename")
        folder.sync()
        reach("ckpt.after_dirsync")


def add_file(folder: Directory, name: str, content: bytes) -> None:
    """Adds a file: durable when this returns, absent when it raises."""
    with _made_whole(folder, name) as partial:
        folder.write(partial, content)
        folder.rename(partial, name)
        folder.sync()


def replace_file(folder: Directory, name: str, content: bytes) -> None:
    """Puts a file in the place of the one of that name, if there is any: old or new, both whole."""
    partial = f"{_PARTIAL}{uuid4().hex}"
    try:
        folder.write(partial, content)
        folder.rename(partial, name)
        folder.sync()
    except BaseException:
        folder.clear(partial)
        raise


@contextmanager
def _made_whole(folder: Directory, name: str) -> Iterator[str]:
    """A name for the unfinished thing; when the body raises, neither that nor `name` stays."""
    partial = f"{_PARTIAL}{uuid4().hex}"
    try:
        yield partial
    except BaseException:
        # When only the last sync failed, it is there already: take it back.
        with suppress(OSError):
            folder.rename(name, partial)
        folder.clear(partial)
        raise


def remove(folder: Directory, name: str) -> None:
    """Removes a folder: gone for readers at once, its content as far as the system allows."""
    removed = f"{_REMOVED}{uuid4().hex}"
    folder.rename(name, removed)
    folder.sync()
    folder.clear(removed)


def clear_leftovers(folder: Directory) -> None:
    """Removes what an interrupted change left in a folder."""
    for name in folder.names():
        if name.startswith((_PARTIAL, _REMOVED)):
            folder.clear(name)


def set_aside(folder: Directory, names: Sequence[str]) -> None:
    """Moves what these names stand for into a new folder that nothing here looks into again."""
    damaged = f"{_DAMAGED}{uuid4().hex}"
    folder.make(damaged)
    with folder.folder(damaged) as aside:
        for name in names:
            folder.move(name, aside)
        aside.sync()
    folder.sync()
