"""Everything that a model observed, as one immutable value."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch

from app.training.observed.drift import Drift
from app.training.observed.held_out import HeldOut
from app.training.observed.moments import Moments
from app.training.observed.reservoir import Reservoir
from app.training.observed.unit_vectors import UnitVectors


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedState:
    """What a model observed; immutable, so that an undo is a reference.

    Attributes:
        moments: of all unit vectors that were trained on, of pairs both sides.
        reservoir: some of them.
        held_out: vectors that were not.
        drift: how much of the vectors the map captured.
        offered: rows (a pair counts once) of all accepted steps; decides which are held out.
        is_given: the weights came from elsewhere (import, fit) and not from these moments.
    """

    moments: Moments
    reservoir: Reservoir
    held_out: HeldOut
    drift: Drift = field(default_factory=Drift)
    offered: int = 0
    is_given: bool = False

    @classmethod
    def empty(cls, width: int, *, reservoir: int, held_out: int) -> ObservedState:
        """Nothing observed yet.

        Args:
            width: of the vectors.
            reservoir: most vectors in the reservoir.
            held_out: most vectors held out.
        """
        return cls(
            moments=Moments.empty(width),
            reservoir=Reservoir.empty(reservoir, width),
            held_out=HeldOut.empty(held_out, width),
        )

    def extended(self, vectors: UnitVectors, generator: torch.Generator | None) -> ObservedState:
        """After vectors that were trained on.

        Args:
            vectors: on the CPU.
            generator: draws which of them the reservoir keeps; None keeps the newest.
        """
        every = vectors.every()
        reservoir = self.reservoir
        return replace(
            self,
            moments=self.moments.extended(every, vectors.half_differences()),
            reservoir=reservoir.sampled(every, generator) if generator else reservoir.newest(every),
        )

    def holding_out(self, vectors: UnitVectors) -> ObservedState:
        """After vectors, on the CPU, that were kept aside."""
        return replace(self, held_out=self.held_out.extended(vectors.vectors, vectors.positives))
