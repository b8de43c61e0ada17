"""Vectors that were never trained on, to judge versions by."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from app.training.observed.reservoir import Reservoir

# Of the stream, every vector (or pair) of this number is kept aside.
HELD_OUT_EVERY = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """The newest vectors that were kept aside, each with its positive if it came; immutable.

    Attributes:
        vectors: unit vectors.
        positives: theirs, position by position, a row of zeros where none came; nothing is kept
            before the first one came.
    """

    vectors: Reservoir
    positives: Reservoir

    @classmethod
    def empty(cls, capacity: int, width: int) -> HeldOut:
        """Nothing kept yet."""
        nothing = Reservoir.empty(capacity, width)
        return cls(vectors=nothing, positives=nothing)

    @property
    def count(self) -> int:
        """How many vectors are kept."""
        return self.vectors.count

    def extended(self, vectors: Tensor, positives: Tensor | None) -> HeldOut:
        """After more vectors; the newest are kept.

        Shape: vectors, positives (count, width), on the CPU.
        """
        kept = self.positives
        if positives is not None and not kept.offered:
            kept = self._without_positives()
        if positives is not None or kept.offered:
            kept = kept.newest(torch.zeros_like(vectors) if positives is None else positives)
        return HeldOut(vectors=self.vectors.newest(vectors), positives=kept)

    def pairs(self) -> tuple[Tensor, Tensor]:
        """Those that came with a positive, and their positives.

        Shape: returns two (pairs, width).
        """
        vectors, positives = self.vectors.rows.tensor(), self.positives.rows.tensor()
        if not len(positives):
            return vectors[:0], positives
        is_pair = positives.any(dim=1)
        return vectors[is_pair], positives[is_pair]

    def _without_positives(self) -> Reservoir:
        rows = self.positives.rows.appended(torch.zeros(self.count, self.positives.rows.width))
        return Reservoir(capacity=self.positives.capacity, rows=rows, offered=self.vectors.offered)
