"""Create, load, describe and delete models: the repository and the engine kept in step."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from threading import Lock

from app.codecs import digest, short_digest
from app.config import ModelConfig, parse_config
from app.engine import Engine, LiveModel
from app.errors import Conflict, NotFound, SlimvecError, Unavailable
from app.exchange import ImportedLayer, read_state_dict
from app.names import check_model_name
from app.service.checkpoints import Checkpoints
from app.service.version_files import from_files, to_files
from app.types import (
    Checkpoint,
    Commit,
    ModelSummary,
    NamedArrays,
    Origin,
    Store,
    VersionDescription,
)

log = logging.getLogger("slimvec.models")

_NEAREST = 5


class Models:
    """The models on disk and in memory; one change at a time.

    Args:
        engine: holds the live models.
        store: the model repository.
        checkpoints: told what is on disk.
        commit: given to every model's worker.

    Attributes:
        not_loaded: models of the repository that could not be loaded, and why.
    """

    def __init__(
        self, engine: Engine, store: Store, checkpoints: Checkpoints, commit: Commit
    ) -> None:
        self._engine = engine
        self._store = store
        self._checkpoints = checkpoints
        self._commit = commit
        self._changing = Lock()
        self.not_loaded: dict[str, str] = {}

    def load_all(self) -> None:
        """Bring every model of the repository to life; a damaged one is skipped with its reason."""
        for name in self._store.models():
            try:
                self._load(name)
            except SlimvecError as error:
                self.not_loaded[name] = error.detail
                log.error("model not loaded: %s", error.detail, extra={"model": name})
            except Exception as error:  # one bad folder does not stop the others
                self.not_loaded[name] = "its files cannot be understood; see the log"
                log.error("model not loaded", exc_info=error, extra={"model": name})

    def create(self, name: str, config: ModelConfig) -> LiveModel:
        """Create version 1 from a config: on disk first, then live.

        Raises:
            Unacceptable: not a model name; a config that cannot be built.
            Conflict: the name is taken.
        """
        with self._changing:
            self._write_first(name, config, None, "initial")
            return self._load(name)

    def adopt(self, name: str, layer: ImportedLayer) -> LiveModel:
        """Create version 1 from a trained layer: on disk first, then live; see `create`."""
        with self._changing:
            self._write_first(name, config_for(layer), layer.tensors, "import")
            return self._load(name)

    def import_file(self, path: Path, name: str) -> ImportedLayer:
        """Write a trained layer into the repository as version 1; it is live after the next start.

        Raises:
            ArtifactInvalid: the file is not such a layer.
            Conflict: the name is taken by other weights (by the same ones: nothing to do).
        """
        layer = read_state_dict(path)
        if check_model_name(name) in self._store.models():
            self._check_same(name, layer)
        else:
            self._write_first(name, config_for(layer), layer.tensors, "import")
        return layer

    def delete(self, name: str) -> None:
        """Take a model out of memory, then off the disk; one that was not loaded goes too.

        Raises:
            NotFound: no such model; also for the steps that were waiting.
        """
        with self._changing:
            if check_model_name(name) not in self._store.models():
                self.missing(name)
            if live := self._engine.models.pop(name, None):
                live.reject_waiting(NotFound("model_not_found", f"model {name!r} was deleted"))
                live.close(timeout_s=0.0)
            self._store.delete(name)
            self._checkpoints.forget(name)
            self.not_loaded.pop(name, None)
        log.info("model deleted", extra={"model": name})

    def describe_versions(self, name: str) -> list[VersionDescription]:
        """Every retained version, oldest first."""
        return [self.describe_version(name, version) for version in self._store.versions(name)]

    def describe_version(self, name: str, version: int) -> VersionDescription:
        """One retained version, as its `state.json` says.

        Raises:
            NotFound: `version_not_retained`, naming the nearest retained ones.
        """
        retained = self._store.versions(name)
        if version not in retained:
            nearest = sorted(sorted(retained, key=lambda v: abs(v - version))[:_NEAREST])
            raise NotFound(
                "version_not_retained",
                f"version {version} of model {name!r} is not retained; "
                f"nearest retained: {', '.join(map(str, nearest)) or 'none'}",
            )
        state = self._store.read(name, version).state
        return VersionDescription(
            version=version,
            origin=state.get("origin", "import"),
            step=state.get("step", 0),
            created=state.get("created"),
            digest=state.get("digest"),
            state_digest=state.get("state_digest"),
            metrics=state.get("metrics", {}),
        )

    def missing(self, name: str) -> LiveModel:
        """Say that there is no such model, or why it is not live.

        Raises:
            Unacceptable: not a model name at all.
            Unavailable: it is in the repository and could not be loaded.
            NotFound: otherwise.
        """
        if check_model_name(name) in self.not_loaded:
            raise Unavailable(
                "model_not_loaded",
                f"model {name!r} could not be loaded: {self.not_loaded[name]}; "
                "mend its folder and restart, or DELETE it",
            )
        raise NotFound(
            "model_not_found", f"there is no model {name!r}; GET /models lists those that are here"
        )

    def _load(self, name: str) -> LiveModel:
        version, files = self._store.newest(name)
        checkpoint = from_files(version, files)
        last = self._store.versions(name)[-1]
        if last > version:
            # A newer folder is damaged. Its number was given out, so these weights, or what is
            # learned on them, must not be called by it again.
            checkpoint = _renumbered(checkpoint, last + 1)
        live = self._engine.start(name, checkpoint, self._commit)
        self._checkpoints.adopt(name, version)
        if checkpoint.version > version:
            self._checkpoints.note_step(name, checkpoint.version)
        facts = {"model": name, "version": checkpoint.version, "from_version": version}
        log.info("model loaded", extra=facts)
        return live

    def _write_first(
        self, name: str, config: ModelConfig, weights: NamedArrays | None, origin: Origin
    ) -> None:
        if check_model_name(name) in self._store.models():
            raise Conflict("model_exists", f"model {name!r} exists already; delete it first")
        checkpoint = self._engine.initial(config, weights)
        self._store.write(name, checkpoint.version, to_files(checkpoint, origin))

    def _check_same(self, name: str, layer: ImportedLayer) -> None:
        first = self._store.versions(name)[0]
        stored = from_files(first, self._store.read(name, first))
        if stored.digest != short_digest(digest(layer.tensors)):
            raise Conflict(
                "model_exists",
                f"model {name!r} exists already and began with other weights than this file's; "
                "import it under another name: slimvec import FILE --name NAME",
            )


def summarise(live: LiveModel) -> ModelSummary:
    """One line about a live model."""
    snapshot = live.snapshot
    return ModelSummary(
        model=live.name,
        version=snapshot.stamp.version,
        digest=snapshot.stamp.digest,
        input_size=snapshot.input_size,
        n_components=snapshot.n_components,
    )


def _renumbered(checkpoint: Checkpoint, version: int) -> Checkpoint:
    """The same weights and state as a new version."""
    trainer = checkpoint.trainer and replace(checkpoint.trainer, version=version)
    return replace(checkpoint, version=version, trainer=trainer)


def config_for(layer: ImportedLayer) -> ModelConfig:
    """The config of a model made from a trained layer; everything else is the default."""
    qr_reduction = {
        "type": "QRReduction",
        "n_components": layer.n_components,
        "bias": layer.bias is not None,
    }
    return parse_config({"input_size": layer.input_size, "layers": [qr_reduction]})
