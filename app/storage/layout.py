"""Which names on disk are models, versions and parts of a journal."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable

from app.errors import Unacceptable
from app.names import check_model_name
from app.storage.directory import Directory

logger = logging.getLogger("slimvec.storage")

MARK = "journal.mark"
UPSTREAM = "upstream.json"
SIDE_FILES = ("-wal", "-shm")  # which SQLite keeps beside a database

_VERSION = re.compile(r"[1-9][0-9]{0,17}")
_JOURNAL = re.compile(r"journal-([1-9][0-9]{0,17})(?:-([0-9]{1,18}))?\.sqlite3(-wal|-shm)?")


def is_version(version: int) -> bool:
    """Whether a number can be a version at all."""
    return 1 <= version < 10**18


def model_fault(name: str, root: Directory) -> str:
    """Why that name is not a model, or nothing."""
    try:
        check_model_name(name)
    except Unacceptable:
        return "not a model name"
    return "" if root.has_folder(name) else "not a folder"


def version_fault(name: str, folder: Directory) -> str:
    """Why that name is not a version, or nothing."""
    if not _VERSION.fullmatch(name):
        return "not a version number"
    return "" if folder.has_folder(name) else "not a folder"


def part_fault(name: str, folder: Directory) -> str:
    """Why that name is no part of a model, or nothing."""
    return "" if name == UPSTREAM or is_of_journal(name) else version_fault(name, folder)


def journal_name(version: int, seq: int | None = None) -> str:
    """The name of the journal file that begins at a version.

    Args:
        version: the model's version before the file's first row.
        seq: the row before the file's first one; part of the name only where another file, with
            rows, begins at the same version already (after another environment, for one).
    """
    return f"journal-{version}.sqlite3" if seq is None else f"journal-{version}-{seq}.sqlite3"


def is_of_journal(name: str) -> bool:
    """Whether a file belongs to a model's journal: a database, what is beside it, or the mark."""
    return name == MARK or _JOURNAL.fullmatch(name) is not None


def journal_order(name: str) -> tuple[int, int]:
    """Sorts the files of a journal, databases with what is beside them, as they were begun.

    The first number is the version that the file begins at.
    """
    match = _JOURNAL.fullmatch(name)
    assert match, "only for the names that `is_of_journal` and are not the mark"
    return int(match[1]), int(match[2] or 0)


def journal_files(names: Iterable[str]) -> list[str]:
    """The databases among names, oldest first."""
    databases = (name for name in names if _JOURNAL.fullmatch(name) and name.endswith(".sqlite3"))
    return sorted(databases, key=journal_order)


def kept(folder: Directory, fault: Callable[[str, Directory], str], *, where: str) -> list[str]:
    """The names without a fault; each other is passed over with a warning that says why.

    Dot-names and README.md are nobody's models, so nothing is said of them.
    """
    fine = []
    for name in folder.names():
        reason = fault(name, folder)
        if not reason:
            fine.append(name)
        elif not name.startswith(".") and name != "README.md":
            logger.warning("skipped %r in %s: %s", name, where, reason)
    return fine
