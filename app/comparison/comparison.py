"""Every reduction at every dimension, measured on rows that none of them saw."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from app.comparison.held_out import Division, Vectors
from app.comparison.reductions import REDUCTIONS, Task
from app.errors import ConfigInvalid
from app.training.metrics import (
    kept_neighbours,
    mean_interval,
    mean_reciprocal_rank,
    own_ranks,
    recall_at,
    sampled_queries,
)
from app.wording import offered

_NEIGHBOURS = 10
_BYTES_A_NUMBER = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One reduction at one dimension.

    Attributes:
        method: name of the reduction; "full" for none.
        n_components: numbers of a reduced vector.
        nn10: recall@10 against the full dimension; its 95 % interval runs from low to high.
        r1: how often a row's own partner comes first; None without pairs.
        r10: the same, among the first ten.
        mrr: mean of 1 / rank of the partner.
        bytes_a_vector: in float32.
        gigabytes_a_million: of a million of such vectors, 10^9 bytes each.
    """

    method: str
    n_components: int
    nn10: float
    low: float
    high: float
    r1: float | None
    r10: float | None
    mrr: float | None
    bytes_a_vector: int
    gigabytes_a_million: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All rows, and what they were measured on."""

    input_size: int
    learned: int
    held_out: int
    rows: tuple[Row, ...]

    @property
    def has_pairs(self) -> bool:
        """Whether partners were known."""
        return self.rows[0].mrr is not None


def compare(
    division: Division,
    *,
    components: Sequence[int],
    seed: int = 0,
    pair_weight: float = 0.3,
    begins: Callable[[str], object] | None = None,
) -> Comparison:
    """Make each reduction of the registry from the rows to learn from, and measure it.

    Args:
        division: the rows to learn from, and those to measure on.
        components: how many numbers to reduce to.
        seed: of what is drawn.
        pair_weight: of the recipe, where partners are known.
        begins: told each reduction before it is made; one may take minutes.

    Raises:
        ConfigInvalid: a dimension above the width of the vectors, or below 1.
    """
    size = division.input_size
    others = [k for k in components if not 1 <= k <= size]
    if others or not components:
        raise ConfigInvalid(
            f"expected numbers of components from 1 to {size}, the width of these vectors, got "
            f"{offered(others[0]) if others else 'none'}; leave out others",
            pointer="/components",
        )
    return Comparison(
        input_size=size,
        learned=len(division.learned.every),
        held_out=len(division.held_out.every),
        rows=tuple(_rows(division, sorted(set(components)), seed, pair_weight, begins)),
    )


def _rows(
    division: Division,
    components: Sequence[int],
    seed: int,
    pair_weight: float,
    begins: Callable[[str], object] | None,
) -> Iterator[Row]:
    for k in components:
        task = Task(learned=division.learned, n_components=k, seed=seed, pair_weight=pair_weight)
        for name, reduction in REDUCTIONS.items():
            if begins is not None:
                begins(f"{name}, {k} components")
            yield _measured(name, reduction(task), division.held_out)
    yield _measured("full", torch.eye(division.input_size), division.held_out)


def _measured(name: str, weight: Tensor, held_out: Vectors) -> Row:
    queries, docs = held_out.hidden_states, held_out.positives
    chosen = sampled_queries(len(queries))
    # Without pairs the rows search each other, and none finds itself.
    own = chosen if docs is None else None
    corpus = queries if docs is None else docs
    reduced_queries, reduced_corpus = queries[chosen] @ weight.mT, corpus @ weight.mT
    kept = kept_neighbours(
        queries[chosen], corpus, reduced_queries, reduced_corpus, k=_NEIGHBOURS, own=own
    )
    shares = kept / _NEIGHBOURS
    low, high = mean_interval(shares)
    ranks = None if docs is None else own_ranks(reduced_queries, reduced_corpus, chosen)
    size = _BYTES_A_NUMBER * len(weight)
    return Row(
        method=name,
        n_components=len(weight),
        nn10=float(shares.double().mean()),
        low=low,
        high=high,
        r1=None if ranks is None else recall_at(ranks, 1),
        r10=None if ranks is None else recall_at(ranks, 10),
        mrr=None if ranks is None else mean_reciprocal_rank(ranks),
        bytes_a_vector=size,
        gigabytes_a_million=size / 1000,
    )
