"""What is read of a model between two groups of changes: where it stands, and all that it is."""

from __future__ import annotations

from dataclasses import dataclass

from app.config import ModelConfig
from app.engine.examination import Examination, examination
from app.engine.snapshot import Snapshot, to_arrays
from app.training.trainer import Trainer
from app.types import Checkpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """Where a trainer stands."""

    version: int
    step: int
    state_digest: str
    learning_rates: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """One version, whole.

    Attributes:
        checkpoint: as it is written.
        snapshot: as readers have it.
        examination: looks at versions by what the model remembered then; None where it does not.
    """

    checkpoint: Checkpoint
    snapshot: Snapshot
    examination: Examination | None


def stand_of(trainer: Trainer) -> Stand:
    """Where it stands now."""
    return Stand(
        version=trainer.version,
        step=trainer.step,
        state_digest=trainer.state_digest(),
        learning_rates=trainer.learning_rates,
    )


def take(config: ModelConfig, snapshot: Snapshot, trainer: Trainer) -> Taken:
    """The version of now.

    Args:
        config: what the model is.
        snapshot: of the trainer's version.
        trainer: read now, in its own thread, and not afterwards.
    """
    checkpoint = Checkpoint(
        config=config,
        version=trainer.version,
        digest=snapshot.stamp.digest,
        serving=to_arrays(snapshot.tensors),
        trainer=trainer.state(),
    )
    look = examination(config, snapshot, trainer)
    return Taken(checkpoint=checkpoint, snapshot=snapshot, examination=look)
