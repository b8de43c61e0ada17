"""The vectors that a model remembers, as the corpus that its versions are judged by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from app.training.metrics import sampled_queries
from app.training.metrics.neighbours import nearest, num_shared
from app.training.observed import ObservedState
from app.training.observed.moments import Moments

# Fewer say nothing about neighbours.
FEWEST = 32
_NEIGHBOURS = 10
_QUERIES = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """The reservoir of a model at one moment, and the neighbours of a sample of it.

    Attributes:
        vectors: each of them once, (vectors, width): the corpus.
        queries: rows of the sampled ones, (queries,).
        moments: of every vector that was seen.
        expected: the nearest ten of each query among all others, (queries, 10).
    """

    vectors: Tensor
    queries: Tensor
    moments: Moments
    expected: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, observed: ObservedState, device: torch.device) -> Self | None:
        """What a model remembers, on this device; None while that is too little."""
        # What came again and again, as in several epochs, would be its own nearest ten.
        vectors = torch.unique(observed.reservoir.rows.tensor(), dim=0).to(device)
        if len(vectors) < FEWEST:
            return None
        queries = sampled_queries(len(vectors), count=_QUERIES).to(device)
        expected = nearest(vectors[queries], vectors, k=_NEIGHBOURS, own=queries)
        return cls(vectors=vectors, queries=queries, moments=observed.moments, expected=expected)

    def found(self, queries: Tensor, corpus: Tensor) -> Tensor:
        """The share of each query's nearest ten that reduced vectors find.

        Args:
            queries: every vector, as whatever makes the queries reduces it.
            corpus: the same, as whatever made the corpus reduced it.

        Shape: queries, corpus (vectors, n_components); returns (queries,), from 0 to 1, float64.
        """
        own = self.queries
        lists = nearest(queries[own], corpus, k=_NEIGHBOURS, own=own)
        return num_shared(self.expected, lists).double() / _NEIGHBOURS
