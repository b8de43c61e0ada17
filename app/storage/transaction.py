"""How a folder comes and goes: whole, at one moment, by a rename."""

from __future__ import annotations

from contextlib import suppress
from uuid import uuid4

from app.storage.directory import Directory
from app.storage.version import write_files
from app.types import VersionFiles

# Dot-names: never a model, never a version.
_PARTIAL, _REMOVED = ".partial-", ".removed-"


def add(folder: Directory, name: str, files: VersionFiles) -> None:
    """Adds a version folder: durable when this returns, absent when it raises."""
    partial = f"{_PARTIAL}{uuid4().hex}"
    folder.make(partial)
    try:
        with folder.folder(partial) as inside:
            write_files(inside, files)
        folder.rename(partial, name)
        folder.sync()
    except BaseException:
        # When only the last sync failed, the version is there already: take it back.
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
    """Removes what an interrupted `add` or `remove` left in a folder."""
    for name in folder.names():
        if name.startswith((_PARTIAL, _REMOVED)):
            folder.clear(name)
