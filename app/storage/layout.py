"""Which names on disk are models and versions."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable

from app.errors import Unacceptable
from app.names import check_model_name
from app.storage.directory import Directory

logger = logging.getLogger("slimvec.storage")

_VERSION = re.compile(r"[1-9][0-9]{0,17}")


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
