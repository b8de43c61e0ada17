"""The model repository on disk: one folder a model, one folder a version, complete or absent."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Lock

from app.errors import Conflict, NotFound
from app.names import check_model_name
from app.storage.journal import FileJournal
from app.storage.layout import MARK, UPSTREAM, is_version, kept, model_fault, part_fault
from app.storage.retainer import Retainer
from app.storage.root import Root
from app.storage.stored_journal import StoredJournal, unvouched
from app.storage.system import System, storage_errors
from app.storage.transaction import add, clear_leftovers, remove, replace_file, set_aside
from app.storage.versions import Versions
from app.types import Json, Position, Retention, StoredRow, VersionFiles

logger = logging.getLogger("slimvec.storage")

_MAX_UPSTREAM_BYTES = 4096


class Repository:
    """Version folders under one root; implements `app.types.Store`.

    Only the holder of `app.storage.lock` may change anything. Threads may share a repository:
    changes wait for each other, readers never wait.

    Args:
        root: the models directory.
        system: the operating-system calls; another one only in tests.
    """

    def __init__(self, root: Path, system: System | None = None) -> None:
        self._root = Root(root, system or System())
        self._versions = Versions(self._root)
        self._changing = Lock()

    def models(self) -> list[str]:
        """See `Versions.models`."""
        return self._versions.models()

    def versions(self, model: str) -> list[int]:
        """See `Versions.of`."""
        return self._versions.of(model)

    def read(self, model: str, version: int) -> VersionFiles:
        """See `Versions.read`."""
        return self._versions.read(model, version)

    def describe(self, model: str, version: int) -> Json:
        """The state.json of a version; see `Versions.describe`."""
        state, _ = self._versions.describe(model, version)
        return state

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
        with self._changing, storage_errors(action), self._root.made(model) as folder:
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
        with self._changing, storage_errors(f"delete '{model}'"), self._root.open() as root:
            if not self.versions(model):
                raise NotFound("model_not_found", f"there is no model '{model}'")
            remove(root, model)

    def read_upstream(self, model: str) -> bytes | None:
        """What is kept of the upstream whose embeddings a model reduces; None before it was used.

        Raises:
            NotFound: `folder_not_found`.
            ArtifactInvalid: the file cannot be read.
            Unavailable: `storage_failed`.
        """
        action = f"read {UPSTREAM} of '{check_model_name(model)}'"
        with storage_errors(action), self._root.open(model) as folder:
            return folder.read(UPSTREAM, max_bytes=_MAX_UPSTREAM_BYTES)

    def write_upstream(self, model: str, content: bytes) -> None:
        """Keeps that in the place of what was kept; durable when this returns.

        Raises:
            NotFound: `folder_not_found`.
            StorageFull: `storage_full`.
            Unavailable: `read_only` or `storage_failed`.
        """
        action = f"store {UPSTREAM} of '{check_model_name(model)}'"
        with self._changing, storage_errors(action), self._root.open(model) as folder:
            replace_file(folder, UPSTREAM, content)

    def retain(
        self, model: str, retention: Retention, *, protected: frozenset[int] = frozenset()
    ) -> list[int]:
        """Removes checkpoints beyond the bounds, oldest first, and journal files nobody needs.

        Initial and imported versions, protected ones and the two newest checkpoints stay. Nothing
        is removed while fewer than two of the checkpoints that would stay can be read. A journal
        file goes when it lies wholly before the older of the two newest versions that can be read:
        should the newest turn out damaged, that one and the rows after it reach as far. Needs no
        space on the disk.

        Returns:
            The removed versions, oldest first.

        Raises:
            Unavailable: `read_only` or `storage_failed`.
        """
        with self._changing, storage_errors(f"remove old versions of '{model}'"):
            return Retainer(self._root, self._versions, model).remove_surplus(retention, protected)

    def set_aside(self, model: str, *, versions: Sequence[int], journal: bool) -> list[str]:
        """Moves versions, and with `journal` all of the journal, out of the way; deletes nothing.

        They are then in a folder `.damaged-…` inside the model's.

        Returns:
            The names that were moved; those of versions that are not there are left out.

        Raises:
            NotFound: `folder_not_found`.
            StorageFull: `storage_full`.
            Unavailable: `read_only` or `storage_failed`.
        """
        action = f"set files of '{check_model_name(model)}' aside"
        with self._changing, storage_errors(action), self._root.open(model) as folder:
            names = [str(version) for version in versions if folder.has(str(version))]
            if journal:
                # The mark last: until all is moved, it says that something is missing.
                parts = self._root.journal(model, folder).parts
                names += sorted(parts, key=lambda part: part == MARK)
            if names:
                set_aside(folder, names)
        return names

    def open_journal(
        self, model: str, version: int, position: Position, environment: Json
    ) -> FileJournal:
        """Opens a model's journal for appending, at the position where `journal_rows` ended.

        Args:
            model: whose journal.
            version: the model's version there.
            position: where its rows end.
            environment: what will compute the rows to come; another one begins another file.

        Raises:
            NotFound: `folder_not_found`.
            ArtifactInvalid: `journal_invalid`: there are, or were, rows after that position.
            Unavailable: `storage_failed`.
        """
        with storage_errors(f"open the journal of '{model}'"):
            return self._journal(model).open(version, position, environment)

    def journal_rows(self, model: str, after: Position) -> Iterator[StoredRow]:
        """The changes after a position, each verified, one at a time; also beside a live writer.

        Raises:
            NotFound: `folder_not_found`.
            ArtifactInvalid: `journal_invalid`, after the rows before the damage; also when rows
                that were acknowledged are not there.
            Unavailable: `storage_failed`.
        """
        return self._journal(model).rows(after)

    def journal_begin(self, model: str) -> Position:
        """Before the first row that is still there; raises as `journal_rows`."""
        return self._journal(model).begin()

    def journal_end(self, model: str) -> int:
        """The highest row that the journal claims; nothing is verified.

        Raises:
            NotFound: `folder_not_found`.
            Unavailable: `storage_failed`.
        """
        return self._journal(model).end()

    def journal_doubt(self, model: str) -> str:
        """Why nobody can tell whether the newest changes are all there; empty where one can.

        Raises:
            NotFound: `folder_not_found`.
            Unavailable: `storage_failed`.
        """
        return unvouched(model) if self._journal(model).is_unvouched else ""

    def sweep(self) -> None:
        """Removes what interrupted changes left, and says what is passed over as no model of ours.

        Only for start-up, under the lock: a write in progress looks like an interrupted one.

        Raises:
            Unavailable: `read_only` or `storage_failed`.
        """
        with self._changing, storage_errors("tidy the models directory"), self._root.open() as root:
            clear_leftovers(root)
            for model in kept(root, model_fault, where="the models directory"):
                try:
                    with root.folder(model) as folder:
                        clear_leftovers(folder)
                        kept(folder, part_fault, where=f"model '{model}'")
                except PermissionError:
                    logger.warning("skipped model '%s': its folder cannot be opened", model)

    def _journal(self, model: str) -> StoredJournal:
        action = f"look for the journal of '{check_model_name(model)}'"
        with storage_errors(action), self._root.open(model) as folder:
            return self._root.journal(model, folder)
