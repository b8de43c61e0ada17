"""Removes the checkpoints that became too many, and the journal files that nobody needs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import islice
from operator import attrgetter

from app.errors import ArtifactInvalid, NotFound
from app.failpoints import reach
from app.storage.directory import Directory
from app.storage.retention import AT_LEAST, Kept, journal_position, surplus
from app.storage.root import Root
from app.storage.transaction import remove
from app.storage.versions import Versions
from app.types import Retention, VersionFiles

logger = logging.getLogger("slimvec.storage")


class Retainer:
    """Removes what is beyond the bounds of one model, as long as enough can be read.

    Args:
        root: the models directory.
        versions: reads what is in it.
        model: whose versions.
    """

    def __init__(self, root: Root, versions: Versions, model: str) -> None:
        self._root = root
        self._versions = versions
        self._model = model

    def remove_surplus(self, retention: Retention, protected: frozenset[int]) -> list[int]:
        """See `Repository.retain`; raises OSError as the system gives it."""
        versions = self._versions.of(self._model)
        if not versions:
            return []
        kept = [self._kept(version) for version in versions]
        removed = surplus(kept, retention, protected)
        staying = [v.version for v in kept if v.is_checkpoint and v.version not in removed]
        if removed and len(list(islice(self._readable(staying), AT_LEAST))) < AT_LEAST:
            removed = []
        with self._root.open(self._model) as folder:
            for version in removed:
                reach("retention.before_unlink")
                remove(folder, str(version))
            self._retire_journal(folder)
        return removed

    def _kept(self, version: int) -> Kept:
        """What state.json says; a damaged one says nothing, and its version stays."""
        try:
            state, num_bytes = self._versions.describe(self._model, version)
        except (ArtifactInvalid, NotFound):
            return Kept(version, 0, {})
        return Kept(version, num_bytes, state)

    def _retire_journal(self, folder: Directory) -> None:
        journal = self._root.journal(self._model, folder)
        if len(journal.files) < 2:  # the newest is being written
            return
        readable = self._readable(self._versions.of(self._model))
        found = (journal_position(files.state) for files in readable)
        positions = list(islice((position for position in found if position), AT_LEAST))
        if len(positions) < AT_LEAST:
            return
        try:
            parts = journal.parts_before(min(positions, key=attrgetter("seq")))
        except ArtifactInvalid as error:
            logger.warning("old journal files are kept: %s", error.detail)
            return
        for part in parts:
            reach("retention.before_unlink")
            folder.unlink(part)
        folder.sync()

    def _readable(self, versions: list[int]) -> Iterator[VersionFiles]:
        """Those that can be read, newest first."""
        for version in reversed(versions):
            try:
                yield self._versions.read(self._model, version)
            except (ArtifactInvalid, NotFound) as error:
                logger.warning("old versions are kept: %s", error.detail)
