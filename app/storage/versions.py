"""The versions on disk, read: which there are, and what is in them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from app.errors import ArtifactInvalid, NotFound
from app.names import check_model_name
from app.storage.directory import Directory
from app.storage.layout import is_version, model_fault, version_fault
from app.storage.root import Root
from app.storage.system import storage_errors
from app.storage.version import read_files, read_state
from app.types import Json, VersionFiles

T = TypeVar("T")
logger = logging.getLogger("slimvec.storage")


class Versions:
    """Reads the version folders under a root; any thread may, at any time.

    Args:
        root: the models directory.
    """

    def __init__(self, root: Root) -> None:
        self._root = root

    def models(self) -> list[str]:
        """The names of the models that have a version, sorted."""
        with storage_errors("list the models"), self._root.open() as root:
            names = [name for name in root.names() if not model_fault(name, root)]
        return [name for name in names if self.of(name)]

    def of(self, model: str) -> list[int]:
        """The versions of a model, oldest first; empty when there is no such model.

        A version is listed because its folder is there; whether it is whole, `read` says.
        """
        check_model_name(model)
        try:
            with (
                storage_errors(f"list the versions of '{model}'"),
                self._root.open(model) as folder,
            ):
                names = [name for name in folder.names() if not version_fault(name, folder)]
        except NotFound:
            return []
        return sorted(map(int, names))

    def read(self, model: str, version: int) -> VersionFiles:
        """The files of one version, whole and as they were written.

        Raises:
            NotFound: `version_not_found`.
            ArtifactInvalid: names model, version, file and fault.
            Unavailable: `storage_failed`; the fault is not the version's own.
        """
        return self._read(model, version, read_files)

    def describe(self, model: str, version: int) -> tuple[Json, int]:
        """The state.json of a version, empty where there is none, and the bytes of its files.

        Raises:
            NotFound: `version_not_found`.
            ArtifactInvalid: state.json is damaged.
            Unavailable: `storage_failed`.
        """
        return self._read(model, version, lambda folder: (read_state(folder), folder.num_bytes()))

    def _read(self, model: str, version: int, read: Callable[[Directory], T]) -> T:
        check_model_name(model)
        if not is_version(version):
            raise NotFound("version_not_found", "expected a version from 1 to 10**18 - 1")
        where = f"version {version} of '{model}'"
        absent = NotFound("version_not_found", f"there is no {where} that can be opened")
        fault: ArtifactInvalid | None = None
        try:
            with storage_errors(f"read {where}"), self._root.open(model, str(version)) as folder:
                try:
                    content = read(folder)
                except ArtifactInvalid as error:
                    fault = error
                # A removal renames first: what is still in its place was whole while it was read.
                if not folder.is_at(self._root.path / model / str(version)):
                    raise absent
        except NotFound:
            raise absent from None
        if fault:
            raise ArtifactInvalid(f"{where}: {fault.detail}") from fault
        return content
