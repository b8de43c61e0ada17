"""Which checkpoints have become too many, too large or too old."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.types import Json, Position, Retention

AT_LEAST = 2  # checkpoints that stay, whatever the bounds say: one may turn out to be damaged


@dataclass(frozen=True, slots=True)
class Kept:
    """A version on disk, as its state.json tells of it."""

    version: int
    num_bytes: int
    state: Json

    @property
    def is_checkpoint(self) -> bool:
        """Whether it may go one day; initial and imported versions, and those by hand, stay."""
        return self.state.get("origin") == "checkpoint"

    @property
    def clock_s(self) -> float:
        """How long the model had been served."""
        return float(self.state.get("clock_s", 0.0))


def surplus(kept: Sequence[Kept], retention: Retention, protected: frozenset[int]) -> list[int]:
    """The checkpoints to remove, oldest first.

    A checkpoint's age is what the model was served for since then, not what a wall clock says: a
    clock that jumps would remove all of them at once.

    Args:
        kept: every version on disk, oldest first.
        retention: the bounds.
        protected: versions that stay.
    """
    checkpoints = [version for version in kept if version.is_checkpoint]
    num_bytes = sum(version.num_bytes for version in kept)
    num_surplus = len(checkpoints) - retention.checkpoints
    chosen = []
    for number, checkpoint in enumerate(checkpoints[:-AT_LEAST]):
        age_s = checkpoints[-1].clock_s - checkpoint.clock_s
        is_surplus = (
            number < num_surplus or num_bytes > retention.num_bytes or age_s > retention.age_s
        )
        if is_surplus and checkpoint.version not in protected:
            chosen.append(checkpoint.version)
            num_bytes -= checkpoint.num_bytes
    return chosen


def journal_position(state: Json) -> Position | None:
    """Where in the journal a version was taken; None where it does not say."""
    found = state.get("journal")
    return Position(found["seq"], found["chain"]) if found else None
