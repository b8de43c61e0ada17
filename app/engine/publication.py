"""What readers are given of a model: replaced as a whole, never changed."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from app.config import ModelConfig
from app.engine.snapshot import Snapshot
from app.training.trainer import Trainer
from app.types import GateDescription

log = logging.getLogger("slimvec.gate")


@dataclass(frozen=True, slots=True)
class Publication:
    """The versions that requests may have without a disk.

    Attributes:
        newest: the version that the last accepted change made.
        live: what `live` means: the newest one, or while the gate holds that back the last one
            that passed.
        gate: why; None without a gate.
        drift: how much less the map captures of the newest vectors; None while nothing is known.
    """

    newest: Snapshot
    live: Snapshot
    gate: GateDescription | None = None
    drift: float | None = None

    @property
    def held_back_at(self) -> int | None:
        """The version that `live` stays at; None while it is the newest."""
        return None if self.live is self.newest else self.live.stamp.version


class Publisher:
    """Makes publications of what a trainer has come to.

    Args:
        first: of the same model.
        config: what the model is.
    """

    def __init__(self, first: Snapshot, config: ModelConfig) -> None:
        self._model = first.stamp.model
        self._config = config
        self._dtype = first.dtype
        self._tiling = first.tiling

    def follow(self, trainer: Trainer, before: Publication) -> Publication:
        """What readers are to be given now; the same object where nothing is new to them.

        Args:
            trainer: as its last change left it.
            before: what they were given before that change; its snapshots are used again.
        """
        newest, held_back = before.newest, trainer.held_back
        if trainer.version != newest.stamp.version:
            newest = self._snapshot(trainer.version, trainer.step, trainer.serving())
        live = newest
        if held_back is not None and held_back.version == before.live.stamp.version:
            live = before.live
        elif held_back is not None:
            live = self._snapshot(held_back.version, held_back.step, held_back.tensors)
        following = Publication(newest, live, trainer.describe_gate(), trainer.drift)
        return before if following == before else following

    def tell(self, before: Publication, following: Publication) -> None:
        """Log once that `live` stays behind, and once that it follows again."""
        gate = following.gate
        was_open = before.gate is None or before.gate.is_open
        if gate is None or gate.is_open == was_open:
            return
        facts = {"model": self._model, "passed": gate.passed, "judged": gate.judged}
        if gate.is_open:
            log.info("the gate is open: live follows the newest version", extra=facts)
        else:
            log.warning("the gate is closed: %s", gate.reason, extra=facts)

    def _snapshot(self, version: int, step: int, tensors: Mapping[str, Tensor]) -> Snapshot:
        stamp = (self._model, version, step)
        return Snapshot(*stamp, self._config, tensors, self._dtype, self._tiling)
