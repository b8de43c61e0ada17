"""The model repository on disk: one folder a model, one folder a version, complete or absent."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import TypeVar

from app.errors import ArtifactInvalid, Conflict, NotFound
from app.names import check_model_name
from app.storage.directory import Directory
from app.storage.layout import is_version, kept, model_fault, version_fault
from app.storage.system import System, storage_errors
from app.storage.transaction import add, clear_leftovers, remove
from app.storage.version import read_files, read_state
from app.types import VersionFiles

T = TypeVar("T")
logger = logging.getLogger("slimvec.storage")

_AT_LEAST = 2  # checkpoints that stay, whatever `keep` says: one may turn out to be damaged


class Repository:
    """Version folders under one root; implements `app.types.Store`.

    Only the holder of `app.storage.lock` may change anything. Threads may share a repository:
    changes wait for each other, readers never wait.

    Args:
        root: the models directory.
        system: the operating-system calls; another one only in tests.
    """

    def __init__(self, root: Path, system: System | None = None) -> None:
        self._root = root
        self._system = system or System()
        self._changing = Lock()

    def models(self) -> list[str]:
        """The names of the models that have a version, sorted."""
        with storage_errors("list the models"), self._open() as root:
            names = [name for name in root.names() if not model_fault(name, root)]
        return [name for name in names if self.versions(name)]

    def versions(self, model: str) -> list[int]:
        """The versions of a model, oldest first; empty when there is no such model.

        A version is listed because its folder is there; whether it is whole, `read` says.
        """
        check_model_name(model)
        try:
            with storage_errors(f"list the versions of '{model}'"), self._open(model) as folder:
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

    def newest(self, model: str) -> tuple[int, VersionFiles]:
        """The newest version that can be read; each newer one is passed over with a warning.

        The numbers of those passed over are used: `versions(model)[-1]` is the highest.

        Raises:
            NotFound: `model_not_found`.
            ArtifactInvalid: there are versions, and none of them can be read.
            Unavailable: `storage_failed`.
        """
        versions = self.versions(model)
        if not versions:
            raise NotFound("model_not_found", f"there is no model '{model}'")
        for version in reversed(versions):
            try:
                return version, self.read(model, version)
            except (ArtifactInvalid, NotFound) as error:
                logger.warning("passed over: %s", error.detail)
        raise ArtifactInvalid(f"none of the {len(versions)} versions of '{model}' can be read")

    def write(self, model: str, version: int, files: VersionFiles) -> None:
        """Adds a version: complete and durable when this returns, absent when it raises.

        Raises:
            Conflict: `version_exists`.
            TooLarge: a file is over the limit of what would be read back.
            StorageFull: `storage_full`.
            Unavailable: `read_only` or `storage_failed`.
        """
        assert is_version(version), "a version is a positive integer"
        action = f"store version {version} of '{check_model_name(model)}'"
        with self._changing, storage_errors(action), self._made(model) as folder:
            if folder.has(str(version)):
                raise Conflict(
                    "version_exists",
                    f"version {version} of '{model}' exists, and a version is never changed",
                )
            add(folder, str(version), files)

    def delete(self, model: str) -> None:
        """Removes a model with all that its folder holds; at once for readers.

        Raises:
            NotFound: `model_not_found`.
            Unavailable: `read_only` or `storage_failed`.
        """
        check_model_name(model)
        with self._changing, storage_errors(f"delete '{model}'"), self._open() as root:
            if not self.versions(model):
                raise NotFound("model_not_found", f"there is no model '{model}'")
            remove(root, model)

    def retain(self, model: str, keep: int) -> list[int]:
        """Removes the oldest checkpoints beyond the `keep` newest; initial and imported ones stay.

        Nothing is removed while fewer than two of the newer checkpoints can be read. Needs no
        space on the disk.

        Returns:
            The removed versions, oldest first.

        Raises:
            Unavailable: `read_only` or `storage_failed`.
        """
        with self._changing:
            checkpoints = [v for v in self.versions(model) if self._is_checkpoint(model, v)]
            surplus = checkpoints[: -max(keep, _AT_LEAST)]
            if not surplus or not self._enough_readable(model, checkpoints[len(surplus) :]):
                return []
            action = f"remove old versions of '{model}'"
            with storage_errors(action), self._open(model) as folder:
                for version in surplus:
                    remove(folder, str(version))
        return surplus

    def sweep(self) -> None:
        """Removes what interrupted changes left, and says what is passed over as no model of ours.

        Only for start-up, under the lock: a write in progress looks like an interrupted one.

        Raises:
            Unavailable: `read_only` or `storage_failed`.
        """
        with self._changing, storage_errors("tidy the models directory"), self._open() as root:
            clear_leftovers(root)
            for model in kept(root, model_fault, where="the models directory"):
                try:
                    with root.folder(model) as folder:
                        clear_leftovers(folder)
                        kept(folder, version_fault, where=f"model '{model}'")
                except PermissionError:
                    logger.warning("skipped model '%s': its folder cannot be opened", model)

    @contextmanager
    def _open(self, *names: str) -> Iterator[Directory]:
        """The root, or the folder below it that the names lead to.

        Raises:
            NotFound: one of the names is not a folder, or may not be opened.
        """
        with ExitStack() as opened:
            folder = opened.enter_context(Directory.at(self._root, self._system))
            for name in names:
                try:
                    folder = opened.enter_context(folder.folder(name))
                except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
                    raise NotFound(
                        "folder_not_found", f"the folder '{name}' cannot be opened"
                    ) from error
            yield folder

    @contextmanager
    def _made(self, model: str) -> Iterator[Directory]:
        """A model's folder, made when it is new and unmade when the body then fails."""
        with self._open() as root:
            is_new = not root.has(model)
            if is_new:
                root.make(model)
            try:
                root.sync()
                with root.folder(model) as folder:
                    yield folder
            except BaseException:
                if is_new:
                    with suppress(OSError):
                        root.unmake(model)
                raise

    def _read(self, model: str, version: int, read: Callable[[Directory], T]) -> T:
        check_model_name(model)
        if not is_version(version):
            raise NotFound("version_not_found", "expected a version from 1 to 10**18 - 1")
        where = f"version {version} of '{model}'"
        absent = NotFound("version_not_found", f"there is no {where} that can be opened")
        fault: ArtifactInvalid | None = None
        try:
            with storage_errors(f"read {where}"), self._open(model, str(version)) as folder:
                try:
                    content = read(folder)
                except ArtifactInvalid as error:
                    fault = error
                # A removal renames first: what is still in its place was whole while it was read.
                if not folder.is_at(self._root / model / str(version)):
                    raise absent
        except NotFound:
            raise absent from None
        if fault:
            raise ArtifactInvalid(f"{where}: {fault.detail}") from fault
        return content

    def _is_checkpoint(self, model: str, version: int) -> bool:
        """Whether state.json says so; a damaged one says nothing, and its version stays."""
        try:
            return bool(self._read(model, version, read_state).get("origin") == "checkpoint")
        except (ArtifactInvalid, NotFound):
            return False

    def _enough_readable(self, model: str, checkpoints: list[int]) -> bool:
        readable = (v for v in reversed(checkpoints) if self._is_readable(model, v))
        return len(list(islice(readable, _AT_LEAST))) == _AT_LEAST

    def _is_readable(self, model: str, version: int) -> bool:
        try:
            self.read(model, version)
        except (ArtifactInvalid, NotFound) as error:
            logger.warning("old versions are kept: %s", error.detail)
            return False
        return True
