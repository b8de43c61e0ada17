"""Replay: the same changes once more, each held against what it made the first time."""

from __future__ import annotations

from dataclasses import dataclass

from app.errors import ArtifactInvalid
from app.training.trainer import Trainer
from app.types import ChangeRequest

# These change no weights, so they make no version.
_WITHOUT_VERSION = {"serving", "config", "gate"}


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


class Replay:
    """Repeats changes on a trainer, and can take the last one back.

    Args:
        trainer: as the checkpoint has it.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self._before = trainer.savepoint()

    def repeat(self, past: Past) -> bool:
        """Make a change again; whether it gave the same bits.

        Raises:
            ArtifactInvalid: `replay_failed`: it cannot be made again at all; nothing changed.
        """
        self._before.take()
        follows = self._trainer.version + (past.request.kind not in _WITHOUT_VERSION)
        if past.version != follows:
            raise ArtifactInvalid(
                f"the journal's next change made version {past.version}, and would make version "
                f"{follows} here: changes between them are missing; to go back to the state "
                "before them, use slimvec repair with --recover=last-good",
                code="replay_failed",
            )
        try:
            self._trainer.apply(past.request, undo=self._before)
        except Exception as error:
            raise ArtifactInvalid(
                f"the change that made version {past.version} was accepted once and cannot be "
                "made again: this is another build of Slimvec, or another config; start it with "
                "the one before, or use slimvec repair with --recover=last-good",
                code="replay_failed",
            ) from error
        return self._trainer.state_digest() == past.state_digest

    def undo(self) -> None:
        """Take the last change back."""
        self._before.restore()
