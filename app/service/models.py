"""Create, load and delete models: the repository and the engine kept in step."""

from __future__ import annotations

import logging
from threading import Lock

from app.config import ModelConfig
from app.engine import Engine, LiveModel
from app.errors import NotFound, SlimvecError, Unavailable
from app.exchange import ImportedLayer
from app.names import check_model_name
from app.service.checkpoints import Checkpoints
from app.service.first_versions import FirstVersions
from app.service.history import History
from app.service.recovery import Recovered, Recovery
from app.service.version_files import to_files
from app.types import Journal, NamedArrays, Store

log = logging.getLogger("slimvec.models")

_GROUP_S = 30.0  # the group in work is finished before its journal goes


class Models:
    """The models on disk and in memory; one change at a time.

    Args:
        engine: holds the live models.
        store: the model repository.
        checkpoints: told what is on disk.
        recovery: brings models back as they were.
        first: writes version 1 of a new one.
        histories: of the live models; kept here.
        is_writable: whether changes can be made durable.

    Attributes:
        not_loaded: models of the repository that could not be loaded, and why.
        unloaded: those that were taken out of memory on purpose.
    """

    def __init__(
        self,
        engine: Engine,
        store: Store,
        checkpoints: Checkpoints,
        recovery: Recovery,
        first: FirstVersions,
        histories: dict[str, History],
        *,
        is_writable: bool,
    ) -> None:
        self._engine = engine
        self._store = store
        self._checkpoints = checkpoints
        self._recovery = recovery
        self._first = first
        self._histories = histories
        self._is_writable = is_writable
        self._changing = Lock()
        self.not_loaded: dict[str, str] = {}
        self.unloaded: set[str] = set()

    @property
    def absent(self) -> dict[str, str]:
        """Every model of the repository that is not in memory, and why."""
        return {**dict.fromkeys(sorted(self.unloaded), "unloaded"), **self.not_loaded}

    def load_all(self) -> None:
        """Bring every model of the repository to life; a damaged one is skipped with its reason."""
        for name in self._store.models():
            self._try_load(name)

    def load(self, name: str) -> LiveModel:
        """Bring one model of the repository to life, unless it is.

        Raises:
            NotFound: no such model.
            Unavailable: `model_not_loaded`: it could not be loaded, and why.
        """
        with self._changing:
            return self._ensure_loaded(name)

    def unload(self, name: str) -> None:
        """Finish what a model accepted, then take it out of memory; its folder stays."""
        with self._changing:
            self.unloaded.add(name)  # before it goes: nobody is to read that there is no such model
            live = self._engine.models.pop(name)
            live.close(timeout_s=_GROUP_S)
            self._histories.pop(name).close()
            self._checkpoints.forget(name)
        log.info("model unloaded", extra={"model": name})

    def install(self, name: str, config: ModelConfig, weights: NamedArrays | None) -> LiveModel:
        """Create version 1 from a config, and weights if there are any; or load what is there.

        Raises:
            Unacceptable: not a model name; a config that cannot be built; weights of another one.
            Unavailable: `model_not_loaded`: it is there, and could not be loaded.
        """
        with self._changing:
            if check_model_name(name) in self._store.models():
                return self._ensure_loaded(name)
            self._first.write(name, config, weights, "initial" if weights is None else "import")
            return self._load(name)

    def create(self, name: str, config: ModelConfig) -> LiveModel:
        """Create version 1 from a config: on disk first, then live.

        Raises:
            Unacceptable: not a model name; a config that cannot be built.
            Conflict: the name is taken.
        """
        with self._changing:
            self._first.write(name, config, None, "initial")
            return self._load(name)

    def adopt(self, name: str, layer: ImportedLayer) -> LiveModel:
        """Create version 1 from a trained layer: on disk first, then live; see `create`."""
        with self._changing:
            self._first.write_layer(name, layer)
            return self._load(name)

    def delete(self, name: str) -> None:
        """Take a model out of memory, then off the disk; one that was not loaded goes too.

        Raises:
            NotFound: no such model; also for the steps that were waiting.
        """
        with self._changing:
            if not self._is_stored(name):
                self.missing(name)
            if live := self._engine.models.pop(name, None):
                live.reject_waiting(NotFound("model_not_found", f"model {name!r} was deleted"))
                live.close(timeout_s=_GROUP_S)
                self._histories.pop(name).close()
            self._store.delete(name)
            self._checkpoints.forget(name)
            self._forget_absence(name)
        log.info("model deleted", extra={"model": name})

    def missing(self, name: str) -> LiveModel:
        """Say that there is no such model, or why it is not live.

        Raises:
            Unacceptable: not a model name at all.
            Unavailable: it is in the repository, and was unloaded or could not be loaded.
            NotFound: otherwise.
        """
        if check_model_name(name) in self.not_loaded:
            raise Unavailable(
                "model_not_loaded",
                f"model {name!r} could not be loaded: {self.not_loaded[name]}",
            )
        if name in self.unloaded:
            raise Unavailable(
                "model_not_loaded", f"model {name!r} was unloaded; load it to have it served again"
            )
        raise NotFound(
            "model_not_found", f"there is no model {name!r}; GET /models lists those that are here"
        )

    def _ensure_loaded(self, name: str) -> LiveModel:
        if self._is_stored(name) and name not in self._engine.models:
            self._try_load(name)
        return self._engine.models.get(name) or self.missing(name)

    def _is_stored(self, name: str) -> bool:
        """Whether the repository has it; why it was absent is forgotten where it has not."""
        if check_model_name(name) in self._store.models():
            return True
        self._forget_absence(name)
        return False

    def _forget_absence(self, name: str) -> None:
        self.not_loaded.pop(name, None)
        self.unloaded.discard(name)

    def _try_load(self, name: str) -> None:
        """Bring a model to life; where that fails, note and log why."""
        try:
            self._load(name)
        except SlimvecError as error:
            self.not_loaded[name] = _with_advice(error)
            log.error("model not loaded: %s", error.placed, extra={"model": name})
        except Exception as error:  # one bad folder does not stop the others
            self.not_loaded[name] = "its files cannot be understood; see the log"
            log.error("model not loaded", exc_info=error, extra={"model": name})

    def _load(self, name: str) -> LiveModel:
        recovered = self._recovery.recover(name)
        live = recovered.live
        if recovered.damaged and self._is_writable:
            moved = self._store.set_aside(name, versions=recovered.damaged, journal=False)
            log.warning("damaged versions set aside: %s", moved, extra={"model": name})
        journal = self._open_journal(recovered) if self._is_writable else None
        history = History(live, recovered.position, journal, recovered.keys, recovered.clock_s)
        written = recovered.checkpoint
        if journal is not None and live.snapshot.stamp.version in recovered.damaged:
            written = self._write_prepared(live, history)  # it may be the one that is served
        if live.is_divergent:
            # These bits were never served under the number that they have: they get one of their
            # own, in the journal too.
            changes = live.rebase()
            if journal is not None:
                history.commit(changes)
                written = self._write_prepared(live, history)
        # Known before it is live: from then on every verb looks them up.
        self._histories[name] = history
        self._checkpoints.adopt(name, written)
        self._engine.start(live, history.commit, stopped=_read_only() if journal is None else None)
        self._forget_absence(name)
        return live

    def _write_prepared(self, live: LiveModel, history: History) -> int:
        taken, moment = live.prepared(history.begin_checkpoint)
        files = to_files(taken.checkpoint, "checkpoint", moment)
        self._store.write(live.name, taken.checkpoint.version, files)
        live.checkpointed = taken.snapshot
        return taken.checkpoint.version

    def _open_journal(self, recovered: Recovered) -> Journal:
        live = recovered.live
        version = live.snapshot.stamp.version
        environment = self._engine.environment(live.config)
        return self._store.open_journal(live.name, version, recovered.position, environment)


def _with_advice(error: SlimvecError) -> str:
    """What is wrong, and what to do about it."""
    says_what_to_do = {"journal_invalid", "environment_changed", "replay_diverged", "replay_failed"}
    advice = "; mend its folder, then load it or restart; or DELETE it"
    return error.placed if error.code in says_what_to_do else error.placed + advice


def _read_only() -> Unavailable:
    return Unavailable(
        "read_only",
        "the models directory cannot be written, so nothing can be learned; reads go on",
    )
