"""Checkpoints: when a version is written, and how many are kept."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import asdict
from time import monotonic
from weakref import WeakValueDictionary

from app.engine import Job, LiveModel
from app.errors import NotFound, SlimvecError, StorageFull
from app.service.history import History, Moment
from app.service.quality_watch import QualityWatch
from app.service.version_files import to_files
from app.settings import Settings
from app.types import (
    Compatibility,
    GateDescription,
    Json,
    Judge,
    QualityDescription,
    Retention,
    Store,
)

log = logging.getLogger("slimvec.checkpoints")

_TICK_S = 1.0
_RETRY_S = 10.0


class Checkpoints:
    """Writes versions on request, on a step and time cadence, and at shutdown.

    Args:
        store: the model repository.
        settings: cadence and retention.
        histories: of the live models.
        watch: takes what stands in the record of a version.
    """

    def __init__(
        self, store: Store, settings: Settings, histories: dict[str, History], watch: QualityWatch
    ) -> None:
        self._store = store
        self._histories = histories
        self._watch = watch
        self._settings = settings
        self._written: dict[str, int] = {}
        self._dirty_since: dict[str, float] = {}
        self._retry_at: dict[str, float] = {}
        self._due = asyncio.Event()
        # Only while somebody has it: names come from outside, and need not be those of models.
        self._writing: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._in_work: set[asyncio.Task[int]] = set()

    def adopt(self, model: str, version: int) -> None:
        """Note that this version of a model is on disk."""
        self._written[model] = version
        self._dirty_since.pop(model, None)

    def forget(self, model: str) -> None:
        """Drop a deleted model."""
        self._written.pop(model, None)
        self._dirty_since.pop(model, None)

    def newest(self, model: str) -> int:
        """The newest version that is on disk."""
        return self._written[model]

    def note_step(self, model: str, version: int) -> None:
        """Note an accepted step; wakes the writer when enough of them came."""
        self._dirty_since.setdefault(model, monotonic())
        if version - self._written.get(model, 0) >= self._settings.checkpoint_every_steps:
            self._due.set()

    async def write(self, live: LiveModel) -> int:
        """Write the newest version unless it is on disk already; returns its number.

        Raises:
            NotFound: the model was deleted.
            StorageFull, Unavailable: nothing was written; serving and training go on.
        """
        # Shielded: whoever waits may be cancelled (the cadence, at the drain), and the thread goes
        # on writing; lock, write and the note that it is written are one.
        writing = asyncio.create_task(self._write_locked(live))
        self._in_work.add(writing)
        writing.add_done_callback(self._in_work.discard)
        return await asyncio.shield(writing)

    async def write_paused(self, live: LiveModel) -> int:
        """The same as `write`, for whoever holds `paused` already."""
        if live.is_closed:  # it was deleted while this waited
            raise NotFound("model_not_found", f"there is no model {live.name!r} any more")
        if live.snapshot.stamp.version == self._written.get(live.name):
            self.adopt(live.name, live.snapshot.stamp.version)
            return live.snapshot.stamp.version
        await self._judge(live)
        if live.training_stopped:
            raise live.training_stopped.anew()
        version = await self._write(live)
        log.info("checkpoint written", extra={"model": live.name, "version": version})
        return version

    async def _write_locked(self, live: LiveModel) -> int:
        async with self.paused(live.name):
            return await self.write_paused(live)

    async def _judge(self, live: LiveModel) -> None:
        """Let the gate look at what is to be written; where that is refused, it is written so."""
        gate = live.gate
        if gate is not None and gate.judged != live.snapshot.stamp.version:
            with suppress(SlimvecError):
                await asyncio.wrap_future(live.submit(Job(Judge())))

    async def _write(self, live: LiveModel) -> int:
        history = self._histories[live.name]

        def beside(version: int) -> tuple[Moment, GateDescription | None]:
            return history.begin_checkpoint(version), live.gate

        try:
            taken, (moment, gate) = await asyncio.wrap_future(live.checkpoint(beside))
            version = taken.checkpoint.version
            compatibility = await self._watch.compare(live, taken)
            metrics = _metrics(version, gate, live.quality, compatibility)
            checkpoint = taken.checkpoint
            files = await asyncio.to_thread(to_files, checkpoint, "checkpoint", moment, metrics)
            await asyncio.to_thread(self._store.write, live.name, version, files)
            live.checkpointed, live.compatibility = taken.snapshot, compatibility
            self.adopt(live.name, version)
            if live.snapshot.stamp.version > version:
                self._dirty_since.setdefault(live.name, monotonic())
            return version
        finally:  # on a full disk, room is made by what is kept for too long
            live.unpin(await asyncio.to_thread(self._retain, live))

    def paused(self, model: str) -> asyncio.Lock:
        """Held while a version is written; a delete holds it, so that no folder comes back."""
        return self._writing.setdefault(model, asyncio.Lock())

    async def run(self, models: dict[str, LiveModel]) -> None:
        """The cadence: write every model that is due; runs until cancelled."""
        while True:
            await self._wait()
            for live in list(models.values()):  # a thread may add or remove one meanwhile
                try:
                    if self._is_due(live):
                        await self.write(live)
                        self._retry_at.pop(live.name, None)
                except NotFound:
                    continue
                except StorageFull as full:
                    if live.name not in self._retry_at:  # once, not at every try
                        facts = {"model": live.name}
                        log.warning("checkpoint put off: %s", full.detail, extra=facts)
                    self._retry_at[live.name] = monotonic() + _RETRY_S
                except Exception as error:  # the cadence outlives any one failure
                    self._retry_at[live.name] = monotonic() + _RETRY_S
                    log.error("checkpoint failed", exc_info=error, extra={"model": live.name})

    async def _wait(self) -> None:
        # Not wait_for: it may swallow a cancellation that comes in the moment of its end.
        with suppress(TimeoutError):
            async with asyncio.timeout(_TICK_S):
                await self._due.wait()
        self._due.clear()

    def _is_due(self, live: LiveModel) -> bool:
        steps = live.snapshot.stamp.version - self._written.get(live.name, 0)
        if not steps or live.training_stopped or live.is_closed:
            return False
        # Not all is told by `note_step`: whoever waited for a step may have gone before its end.
        since = self._dirty_since.setdefault(live.name, monotonic())
        return monotonic() >= self._retry_at.get(live.name, 0.0) and (
            steps >= self._settings.checkpoint_every_steps
            or monotonic() - since >= self._settings.checkpoint_every_s
            or self._histories[live.name].num_bytes >= self._settings.checkpoint_every_bytes
        )

    def _retain(self, live: LiveModel) -> list[int]:
        limits = self._settings
        retention = Retention(
            checkpoints=limits.retain_checkpoints,
            num_bytes=limits.retain_bytes,
            age_s=limits.retain_s,
        )
        # Versions that requests get without a number, on disk or not.
        protected = frozenset({live.served.stamp.version, live.published.live.stamp.version})
        try:
            removed = self._store.retain(live.name, retention, protected=protected)
        except SlimvecError as error:  # the next checkpoint tries again
            log.error("old versions kept: %s", error.detail, extra={"model": live.name})
            return []
        if removed:
            log.info("old checkpoints removed", extra={"model": live.name, "versions": removed})
        return removed


def _metrics(
    version: int,
    gate: GateDescription | None,
    quality: QualityDescription | None,
    compatibility: Compatibility | None,
) -> Json:
    """What the record of a version says of it; a quality of another version is not its own."""
    if quality is not None and quality.version != version:
        quality = None
    known = {"gate": gate, "quality": quality, "compatibility": compatibility}
    return {name: asdict(found) for name, found in known.items() if found is not None}
