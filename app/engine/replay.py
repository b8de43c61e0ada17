"""Replay: the same changes once more, each held against what it made the first time."""

from __future__ import annotations

from dataclasses import dataclass

from app.errors import ArtifactInvalid
from app.training.trainer import Trainer
from app.types import ChangeRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """A change of the past: what was asked, and what it must make again.

    Attributes:
        version: the model's version with it.
        state_digest: of everything that learning needs, with it.
    """

    request: ChangeRequest
    version: int
    state_digest: str


def repeat(trainer: Trainer, past: Past) -> bool:
    """Make the change again; whether it gave the same bits.

    Raises:
        ArtifactInvalid: `replay_failed`: it cannot be made again at all.
    """
    try:
        trainer.apply(past.request)
    except Exception as error:
        raise ArtifactInvalid(
            f"the change that made version {past.version} was accepted once and cannot be made "
            "again: this is another build of Slimvec, or another config",
            code="replay_failed",
        ) from error
    if trainer.version != past.version:
        raise ArtifactInvalid(
            f"the change that made version {past.version} makes version {trainer.version} now",
            code="replay_failed",
        )
    return trainer.state_digest() == past.state_digest
