"""Recovery: the newest checkpoint that can be read, and every change that came after it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from time import monotonic

from app.engine import Engine, LiveModel, Past, Replay
from app.errors import ArtifactInvalid, NotFound
from app.failpoints import reach
from app.service.keys import KeyTable, Window
from app.service.rows import from_row
from app.service.version_files import from_files, moment_of
from app.settings import Settings
from app.types import Checkpoint, Json, Kind, Position, Serve, Store, VersionFiles

log = logging.getLogger("slimvec.recovery")

_PROGRESS_S = 2.0
_COMPUTED = {"step", "fit", "import", "gate"}  # the other kinds give the same bits everywhere
_OF_EVERY_KIND = {"state_digest_form"}  # and are held against their digest all the same


@dataclass(slots=True)
class Recovered:
    """A model as it was: prepared, and not started yet.

    Attributes:
        checkpoint: the version on disk that the recovery began with.
        damaged: newer versions on disk that cannot be read, oldest first.
        position: of the last change that was repeated.
        highest: the highest version that a row of the journal names, repeated or not.
        num_changes: how many were repeated.
        num_lost: how many more the journal, or its mark, tells of.
        fault: what ended the repetition before its end; only `last_good` goes on from there.
    """

    live: LiveModel
    checkpoint: int
    damaged: tuple[int, ...]
    position: Position
    keys: KeyTable
    clock_s: float
    highest: int = 0
    num_changes: int = 0
    num_lost: int = 0
    fault: ArtifactInvalid | None = None

    @property
    def is_damaged(self) -> bool:
        """Whether anything on disk is not what it should be."""
        return bool(self.fault or self.damaged)


class Recovery:
    """Brings models back as they were.

    Args:
        engine: computes.
        store: the model repository.
        settings: the window of the keys; whether other bits are allowed.

    Attributes:
        progress: what is being repeated, in words; empty while nothing is.
    """

    def __init__(self, engine: Engine, store: Store, settings: Settings) -> None:
        self._engine = engine
        self._store = store
        self._settings = settings
        self.progress = ""

    def recover(self, name: str) -> Recovered:
        """The model as its last acknowledged change left it.

        Raises:
            ArtifactInvalid: it cannot be had whole; the sentence says what is damaged and how to
                repair it.
        """
        recovered = self._begin(name)
        live, replay = recovered.live, recovered.live.replay()
        for past in self._past(recovered):
            if not _repeat(live, replay, past):
                if not self._settings.allow_divergent_replay:
                    raise _diverged(name, past)
                live.is_divergent = True
        live.publish()
        _check_reach(recovered)
        self._serve_pinned(live)
        self._report(recovered)
        return recovered

    def last_good(self, name: str) -> Recovered:
        """The model as far as it can be had; `fault` says what is wrong beyond.

        Its newest version gets a number that was never given out.

        Raises:
            ArtifactInvalid: no version can be read, or nothing is wrong but the environment.
        """
        recovered = self._begin(name)
        try:
            self._repeat_good(recovered)
            recovered.live.publish()
            self._serve_stored(recovered.live)
        except ArtifactInvalid as fault:
            if fault.code == "environment_changed":
                raise  # nothing is damaged: the operator chooses
            recovered.fault = fault
            recovered.live.publish()
            self._serve_newest_if_must(recovered)
        if recovered.is_damaged:
            end = max(self._store.journal_end(name), recovered.position.seq)
            lost = end - recovered.position.seq  # each of them may have made one version
            recovered.num_lost = lost
            newest = recovered.live.snapshot.stamp.version
            given = max(newest, recovered.highest, *recovered.damaged)
            recovered.live.renumber(given + lost + 1)
            # Behind every row that there is: none of them is to follow, whatever became of it.
            recovered.position = Position(end + 1, recovered.position.chain)
        return recovered

    def _repeat_good(self, recovered: Recovered) -> None:
        """Repeat what gives the same bits; the first change that does not is taken back.

        Raises:
            ArtifactInvalid: the journal, or a change in it, is not what it was.
        """
        live, replay = recovered.live, recovered.live.replay()
        for past in self._past(recovered):
            if not _repeat(live, replay, past):
                replay.undo()
                raise _diverged(live.name, past)

    def _begin(self, name: str) -> Recovered:
        checkpoint, files, damaged = self._newest_readable(name)
        reach("recover.after_ckpt")
        moment = moment_of(files.state)
        live = self._engine.prepare(name, checkpoint)
        live.serving = moment.serving
        limits = self._settings
        window = Window(
            age_s=limits.idempotency_window_s,
            newest=limits.idempotency_keys,
            most=limits.idempotency_keys_max,
        )
        keys = KeyTable(window)
        keys.load(files.keys or b"")
        return Recovered(live, checkpoint.version, damaged, moment.position, keys, moment.clock_s)

    def _newest_readable(self, name: str) -> tuple[Checkpoint, VersionFiles, tuple[int, ...]]:
        damaged: list[int] = []
        for version in reversed(self._store.versions(name)):
            try:
                files = self._store.read(name, version)
                checkpoint = from_files(version, files)
            except (ArtifactInvalid, NotFound) as error:
                log.error("passed over: %s", error.detail, extra={"model": name})
                damaged.insert(0, version)
            else:
                return checkpoint, files, tuple(damaged)
        raise ArtifactInvalid(
            f"none of the {len(damaged)} versions of {name!r} can be read; restore one from a "
            "backup, or DELETE the model"
        )

    def _past(self, recovered: Recovered) -> Iterator[Past]:
        """The changes after the checkpoint, in order; `recovered` keeps up with them."""
        name = recovered.live.name
        environment = self._engine.environment(recovered.live.config)
        end, told = self._store.journal_end(name), monotonic()
        for stored in self._store.journal_rows(name, recovered.position):
            row = stored.row
            recovered.highest = max(recovered.highest, row.version)
            if not self._settings.allow_divergent_replay:
                _check_environment(name, row.kind, stored.environment, environment)
            yield Past(request=from_row(row), version=row.version, state_digest=row.state_digest)
            if row.key_hash:
                recovered.keys.remember(row.key_hash, row.fingerprint, row.clock_s, row.answer)
            recovered.position, recovered.clock_s = stored.position, row.clock_s
            recovered.num_changes += 1
            self.progress = f"replaying {name}: change {row.seq} of {end}"
            if monotonic() - told >= _PROGRESS_S:
                told = monotonic()
                log.info(self.progress)
        self.progress = ""

    def _serve_pinned(self, live: LiveModel) -> None:
        if live.serving == live.snapshot.stamp.version:
            live.serve(live.serving, live.snapshot)  # its bits, also where its folder is damaged
        else:
            self._serve_stored(live)

    def _serve_stored(self, live: LiveModel) -> None:
        if live.serving == "live":
            return
        try:
            checkpoint = from_files(live.serving, self._store.read(live.name, live.serving))
        except (ArtifactInvalid, NotFound) as error:
            # Serving another version would answer in another space.
            raise ArtifactInvalid(
                f"model {live.name!r} was told to serve version {live.serving}, which cannot be "
                "read; restore its folder, or serve the newest version: "
                f"slimvec repair {live.name} --recover=last-good"
            ) from error
        live.serve(live.serving, self._engine.snapshot(live.name, checkpoint))

    def _serve_newest_if_must(self, recovered: Recovered) -> None:
        live = recovered.live
        try:
            self._serve_stored(live)
        except ArtifactInvalid:
            on_disk = self._store.versions(live.name)
            served = (v for v in on_disk if v == live.serving and v not in recovered.damaged)
            recovered.damaged = (*recovered.damaged, *served)
            live.serve("live", None)

    def _report(self, recovered: Recovered) -> None:
        live = recovered.live
        facts = {
            "model": live.name,
            "version": live.snapshot.stamp.version,
            "checkpoint": recovered.checkpoint,
            "changes_replayed": recovered.num_changes,
        }
        log.info("model recovered", extra=facts)
        if live.is_divergent:
            log.warning("the replay gave other bits than before, as was allowed", extra=facts)


def _repeat(live: LiveModel, replay: Replay, past: Past) -> bool:
    """Make a change again; whether it gave the same bits."""
    reach("recover.mid_replay")
    is_same = replay.repeat(past)
    if is_same and isinstance(past.request, Serve):
        live.serving = past.request.version
    return is_same


def _check_environment(name: str, kind: Kind, then: Json, now: Json) -> None:
    if then == now:
        return
    names = sorted(key for key in then.keys() | now.keys() if then.get(key) != now.get(key))
    if kind not in _COMPUTED and not _OF_EVERY_KIND.intersection(names):
        return
    raise ArtifactInvalid(
        f"the last changes of model {name!r} were computed in another environment "
        f"({', '.join(f'{key}: {then.get(key)} then, {now.get(key)} now' for key in names)}) and "
        "would give other bits here; start once as it was and stop with SIGTERM, or accept other "
        "bits with --allow-divergent-replay",
        code="environment_changed",
    )


def _diverged(name: str, past: Past) -> ArtifactInvalid:
    return ArtifactInvalid(
        f"replaying model {name!r} gave other bits for version {past.version} than it had; "
        "accept them under a new version with --allow-divergent-replay, or go back to the state "
        f"before it: slimvec repair {name} --recover=last-good",
        code="replay_diverged",
    )


def _check_reach(recovered: Recovered) -> None:
    newest = recovered.live.snapshot.stamp.version
    if recovered.damaged and newest < recovered.damaged[-1]:
        name = recovered.live.name
        raise ArtifactInvalid(
            f"version {recovered.damaged[-1]} of {name!r} is damaged, and checkpoint "
            f"{recovered.checkpoint} with its journal reaches version {newest} only; restore the "
            f"folder from a backup, or: slimvec repair {name} --recover=last-good"
        )
