"""Retained versions: those that are on disk and can be asked for again."""

from __future__ import annotations

from contextlib import suppress

from app.errors import ArtifactInvalid, NotFound, Unavailable
from app.service.version_files import from_files
from app.types import Checkpoint, Json, Store, VersionDescription

_NEAREST = 5


class RetainedVersions:
    """Lists, describes and reads them; changes nothing.

    Args:
        store: the model repository.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def describe_all(self, model: str) -> list[VersionDescription]:
        """Every retained version of a model, oldest first."""
        found = []
        for version in self._store.versions(model):
            with suppress(NotFound):  # it went meanwhile
                found.append(self._described(model, version))
        return found

    def describe(self, model: str, version: int) -> VersionDescription:
        """One retained version, as its `state.json` says.

        Raises:
            NotFound: `version_not_retained`, naming the nearest retained ones.
        """
        self._check(model, version)
        return self._described(model, version)

    def read(self, model: str, version: int) -> Checkpoint:
        """One retained version, whole.

        Raises:
            NotFound: `version_not_retained`, naming the nearest retained ones.
            Unavailable: `version_damaged`: its folder is not what was written.
        """
        self._check(model, version)
        try:
            return from_files(version, self._store.read(model, version))
        except ArtifactInvalid as error:  # ours, and not of whoever asks for it
            raise Unavailable(
                "version_damaged", f"{error.detail}; restore its folder from a backup"
            ) from error

    def _check(self, model: str, version: int) -> None:
        retained = self._store.versions(model)
        if version not in retained:
            nearest = sorted(sorted(retained, key=lambda v: abs(v - version))[:_NEAREST])
            raise NotFound(
                "version_not_retained",
                f"version {version} of model {model!r} is not retained; "
                f"nearest retained: {', '.join(map(str, nearest)) or 'none'}",
            )

    def _described(self, model: str, version: int) -> VersionDescription:
        state: Json = {}
        with suppress(ArtifactInvalid):  # a damaged one knows its number only
            state = self._store.describe(model, version)
        return VersionDescription(
            version=version,
            origin=state.get("origin", "import"),
            step=state.get("step", 0),
            created=state.get("created"),
            digest=state.get("digest"),
            state_digest=state.get("state_digest"),
            metrics=state.get("metrics", {}),
        )
