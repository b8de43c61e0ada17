"""Examinations: what takes the quality of one version, in whatever thread calls it."""

from __future__ import annotations

from functools import partial
from typing import Protocol

from app.config import ModelConfig
from app.engine.snapshot import Snapshot
from app.training.quality import take_quality
from app.training.trainer import Trainer
from app.types import QualityDescription


class Examination(Protocol):
    """Takes the quality of one version, of what belonged to it at one moment."""

    def __call__(self, *, at: str) -> QualityDescription | None:
        """What it is; None while too little is remembered. `at` is the time, for people."""
        ...


def examination(config: ModelConfig, newest: Snapshot, trainer: Trainer) -> Examination | None:
    """The examination of the newest version; None where nothing is remembered.

    All that it looks at is immutable, so that training may go on meanwhile.

    Args:
        config: what the model is.
        newest: of the trainer's version.
        trainer: read now, in its own thread, and not afterwards.
    """
    if trainer.observed is None:
        return None
    version = newest.stamp.version
    return partial(take_quality, config, newest.tensors, trainer.observed, version=version)
