"""Some of all vectors that came: a fair sample of the stream, or its newest."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from app.training.observed.rows import Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservoir:
    """At most `capacity` vectors of a stream; immutable.

    Attributes:
        capacity: how many are kept at most.
        rows: those that are kept.
        offered: vectors that came so far.
    """

    capacity: int
    rows: Rows
    offered: int = 0

    @classmethod
    def empty(cls, capacity: int, width: int) -> Reservoir:
        """One that nothing was offered to."""
        return cls(capacity=capacity, rows=Rows(width=width))

    @property
    def count(self) -> int:
        """How many vectors are kept."""
        return self.rows.count

    def sampled(self, vectors: Tensor, generator: torch.Generator) -> Reservoir:
        """After more vectors, each of the whole stream kept with the same probability.

        Algorithm R: vector i of the stream (from 0) is kept while there is room; later it takes
        the place `j`, drawn from 0 … i, if `j < capacity`.

        Args:
            vectors: (count, width), on the CPU.
            generator: decides which; nothing else does.
        """
        drawn = torch.rand(len(vectors), generator=generator, dtype=torch.float64)
        upper = torch.arange(self.offered + 1, self.offered + len(vectors) + 1)
        return self._kept(vectors, (drawn * upper).long())

    def newest(self, vectors: Tensor) -> Reservoir:
        """After more vectors, with the newest of all; the oldest are replaced in turn."""
        upper = torch.arange(self.offered, self.offered + len(vectors))
        return self._kept(vectors, upper % self.capacity)

    def _kept(self, vectors: Tensor, places: Tensor) -> Reservoir:
        """The first vectors are appended; the others go to their places, where there is one."""
        room = max(0, self.capacity - self.offered)
        rows = self.rows.appended(vectors[:room])
        later = zip(places[room:].tolist(), vectors[room:], strict=True)
        replaced = {place: vector for place, vector in later if place < self.capacity}
        return Reservoir(
            capacity=self.capacity,
            rows=rows.replaced(replaced) if replaced else rows,
            offered=self.offered + len(vectors),
        )
