"""The life of a service: from loading its models to the last checkpoint of each."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from time import monotonic
from typing import Literal, TypeAlias

from app.engine import Engine, LiveModel
from app.errors import Unavailable
from app.failpoints import reach
from app.service.checkpoints import Checkpoints
from app.service.history import History
from app.service.models import Models
from app.service.quality_watch import QualityWatch

log = logging.getLogger("slimvec.service")

Phase: TypeAlias = Literal["starting", "ready", "draining", "closed", "failed"]


class Life:
    """Brings the models up, keeps the cadences, and lets everything end whole.

    Args:
        engine: owns the live models.
        models: loads them.
        checkpoints: writes them, in a cadence.
        watch: takes their quality, in a cadence.
        histories: the journal and keys of each live model.
        drain_timeout_s: how long what was accepted may take at the end.

    Attributes:
        phase: where in its life the service is.
    """

    def __init__(
        self,
        engine: Engine,
        models: Models,
        checkpoints: Checkpoints,
        watch: QualityWatch,
        histories: Mapping[str, History],
        *,
        drain_timeout_s: float,
    ) -> None:
        self.phase: Phase = "starting"
        self._engine = engine
        self._models = models
        self._checkpoints = checkpoints
        self._cadences = (checkpoints, watch)
        self._histories = histories
        self._drain_timeout_s = drain_timeout_s
        self._tasks: list[asyncio.Task[None]] = []
        self._drain_until = 0.0
        self._unsaved: list[str] = []

    async def start(self) -> None:
        """Load every model, warm up, begin the cadences; ready afterwards."""
        try:
            await asyncio.to_thread(self._models.load_all)
            await asyncio.to_thread(self._engine.warm_up)
        except Exception:
            self.phase = "failed"
            raise
        for cadence in self._cadences:
            self._tasks.append(asyncio.create_task(cadence.run(self._engine.models)))
        if self.phase == "starting":
            self.phase = "ready"
            log.info("ready")

    def begin_drain(self) -> None:
        """Accept no more train steps; what was accepted is finished by `close`."""
        if self.phase in ("starting", "ready"):
            self.phase = "draining"
            self._drain_until = monotonic() + self._drain_timeout_s
            log.info("draining: no more train steps are accepted")
            reach("drain.begin")

    async def close(self) -> None:
        """Finish what was accepted, write a last checkpoint of each model, stop the threads.

        When the time of the drain is over, steps that have not begun are refused; the checkpoint is
        written all the same.
        """
        self.begin_drain()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*map(self._settle, list(self._engine.models.values())))
        await asyncio.to_thread(self._engine.close, self._drain_timeout_s)
        for history in self._histories.values():
            await asyncio.to_thread(history.close)
        if self.phase != "failed":
            self.phase = "closed"
        log.info("closed")

    @property
    def is_saved(self) -> bool:
        """Whether the last checkpoint of every model was written."""
        return not self._unsaved

    def check_accepting(self) -> None:
        """Refuse changes before the start is over and after the drain has begun.

        Raises:
            Unavailable: `not_ready` or `draining`.
        """
        if self.phase == "starting":
            raise Unavailable("not_ready", "the server is still loading its models")
        if self.phase != "ready":
            raise Unavailable("draining", "the server is shutting down; nothing was accepted")

    async def _settle(self, live: LiveModel) -> None:
        """Let a model finish within the drain's time, then write its last checkpoint."""
        try:
            async with asyncio.timeout(max(0.0, self._drain_until - monotonic())):
                await asyncio.wrap_future(live.settled())
        except TimeoutError:
            live.reject_waiting(Unavailable("draining", "the server ended before this step began"))
        if live.training_stopped:
            return  # nothing was accepted since, or the disk has failed: the journal suffices
        try:
            await self._checkpoints.write(live)
        except Exception as error:  # the other models still want theirs
            self._unsaved.append(live.name)
            log.error("last checkpoint failed", exc_info=error, extra={"model": live.name})
