"""The unit vectors of a batch, each with its positive if they came."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from app.training.rows import unit_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitVectors:
    """Vectors of length 1 as they came, so that the scale of the input does not matter.

    Attributes:
        vectors: (count, width).
        positives: (count, width), or None when none came.
    """

    vectors: Tensor
    positives: Tensor | None = None

    @classmethod
    def of(cls, hidden_states: Tensor, positives: Tensor | None) -> Self:
        """The rows at length 1; a zero row, which has no direction, stays zero.

        Shape: hidden_states, positives (rows, width).
        """
        units = None if positives is None else unit_rows(positives)
        return cls(vectors=unit_rows(hidden_states), positives=units)

    @property
    def count(self) -> int:
        """How many vectors there are; a pair counts once."""
        return len(self.vectors)

    def chosen(self, is_chosen: Tensor) -> UnitVectors:
        """Those that are chosen and have a direction, of pairs both sides.

        Shape: is_chosen (count,) bool.
        """
        has_direction = self.vectors.any(dim=1)
        if self.positives is not None:
            has_direction &= self.positives.any(dim=1)
        index = (is_chosen & has_direction).nonzero()[:, 0]
        positives = None if self.positives is None else self.positives[index]
        return UnitVectors(vectors=self.vectors[index], positives=positives)

    def every(self) -> Tensor:
        """Vectors and positives, one after the other."""
        if self.positives is None:
            return self.vectors
        return torch.cat([self.vectors, self.positives])

    def half_differences(self) -> Tensor | None:
        """(q - d) / 2 of every pair."""
        return None if self.positives is None else (self.vectors - self.positives) / 2

    def cpu(self) -> UnitVectors:
        """The same on the host."""
        positives = None if self.positives is None else self.positives.cpu()
        return UnitVectors(vectors=self.vectors.cpu(), positives=positives)
