"""One version on one batch, and the registry of metrics of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor, nn

from app.errors import Unacceptable
from app.layers import Context, orthonormality_error
from app.registry import Registry
from app.training.batch import TensorBatch
from app.training.derivative import directional_derivative
from app.training.metrics import (
    kept_neighbours,
    mean_interval,
    mean_reciprocal_rank,
    own_ranks,
    rank_agreement,
    recall_at,
    sampled_queries,
)
from app.training.metrics.energy import row_space
from app.training.reducer import Reducer
from app.training.rows import unit_rows, vectors

_NEIGHBOURS = 10


class Examined:
    """One version's reduction of one batch; what several metrics need is made once.

    Queries are the rows, all or 2,500 of them; the corpus is the positives where there are any,
    otherwise the rows themselves, a query never finding itself.

    Args:
        layer: nobody else's.
        batch: on the layer's device.
        weight: the layer's matrix, where it is one.
        tangents: like the batch's rows; random ones by default.
        has_ids: whether the rows are ids.
    """

    def __init__(
        self,
        layer: nn.Module,
        batch: TensorBatch,
        *,
        weight: Tensor | None,
        tangents: Tensor | None,
        has_ids: bool,
    ) -> None:
        reduce = Reducer(layer, batch.context)
        self.layer, self.batch, self.weight, self.has_ids = layer, batch, weight, has_ids
        self.full = vectors(batch.hidden_states)
        self.reduced = vectors(reduce(batch.hidden_states))
        self.full_docs, self.reduced_docs = self.full, self.reduced
        self.has_pairs = batch.positives is not None
        if batch.positives is not None:
            self.full_docs = vectors(batch.positives)
            self.reduced_docs = vectors(reduce(batch.positives))
        self.own = sampled_queries(batch.rows).to(self.full.device)
        self._tangents = tangents

    @cached_property
    def kept_shares(self) -> Tensor | None:
        """The share of each query's nearest that stays, (queries,) float64; None with too few."""
        if len(self.full_docs) - (not self.has_pairs) < _NEIGHBOURS:
            return None
        own = None if self.has_pairs else self.own
        full, reduced = self.full[self.own], self.reduced[self.own]
        kept = kept_neighbours(full, self.full_docs, reduced, self.reduced_docs, own=own)
        return kept.double() / _NEIGHBOURS

    @cached_property
    def ranks(self) -> Tensor:
        """Where each query's own positive comes, (queries,)."""
        return own_ranks(self.reduced[self.own], self.reduced_docs, self.own)

    @property
    def rows(self) -> Tensor:
        """The queries as the layers take them."""
        return self.batch.hidden_states[self.own]

    @property
    def context(self) -> Context:
        """What the batch says beside the queries."""
        mask = self.batch.mask
        return Context(mask=None if mask is None else mask[self.own], branch=self.batch.branch)

    @property
    def tangents(self) -> Tensor:
        """A tangent for each query: the given ones, or random ones of length 1."""
        if self._tangents is not None:
            return self._tangents[self.own]
        drawn = torch.randn(self.rows.shape, generator=torch.Generator().manual_seed(0))
        return unit_rows(vectors(drawn)).view(drawn.shape).to(self.rows)


METRICS: Registry[Callable[[Examined], float | None]] = Registry("metric")


@METRICS.register("nn10")
def nn10(examined: Examined) -> float | None:
    """Share of each row's ten nearest, by cosine, that stay the ten nearest under reduction."""
    shares = examined.kept_shares
    return None if shares is None else float(shares.mean())


@METRICS.register("nn10_low")
def nn10_low(examined: Examined) -> float | None:
    """Lower end of nn10's 95 % interval, as far as the sample of rows says."""
    return None if examined.kept_shares is None else mean_interval(examined.kept_shares)[0]


@METRICS.register("nn10_high")
def nn10_high(examined: Examined) -> float | None:
    """Upper end of nn10's 95 % interval, as far as the sample of rows says."""
    return None if examined.kept_shares is None else mean_interval(examined.kept_shares)[1]


@METRICS.register("bytes_a_vector")
def bytes_a_vector(examined: Examined) -> float | None:
    """What a reduced row takes in float32."""
    return float(examined.reduced[0].nbytes)


@METRICS.register("gigabytes_a_million")
def gigabytes_a_million(examined: Examined) -> float | None:
    """What a million reduced rows take in float32, in 10^9 bytes."""
    return examined.reduced[0].nbytes / 1000


@METRICS.register("rho")
def rho(examined: Examined) -> float | None:
    """Spearman's correlation of full and reduced cosines over random (row, document) pairs."""
    if examined.batch.rows < 2:
        return None
    return rank_agreement(
        examined.full, examined.full_docs, examined.reduced, examined.reduced_docs
    )


@METRICS.register("mrr")
def mrr(examined: Examined) -> float | None:
    """Mean reciprocal rank of each row's own positive among all positives, after reduction."""
    return mean_reciprocal_rank(examined.ranks) if examined.has_pairs else None


@METRICS.register("r1")
def r1(examined: Examined) -> float | None:
    """Share of rows whose own positive comes first, after reduction."""
    return recall_at(examined.ranks, 1) if examined.has_pairs else None


@METRICS.register("r10")
def r10(examined: Examined) -> float | None:
    """Share of rows whose own positive is among the first ten, after reduction."""
    return recall_at(examined.ranks, 10) if examined.has_pairs else None


@METRICS.register("explained_variance")
def explained_variance(examined: Examined) -> float | None:
    """Energy of the rows, each of length 1, that the weights' directions keep; uncentred."""
    if examined.weight is None:
        return None
    units = unit_rows(examined.full).double()
    kept = units @ row_space(examined.weight).to(units).mT
    energy = float(units.square().sum())
    return float(kept.square().sum()) / energy if energy else None


@METRICS.register("orthonormality_error")
def largest_orthonormality_error(examined: Examined) -> float | None:
    """Largest entry of `|Q Qᵀ - I|`."""
    return None if examined.weight is None else orthonormality_error(examined.weight)


@METRICS.register("sensitivity")
def sensitivity(examined: Examined) -> float | None:
    """Mean over rows of `‖J v‖ / ‖v‖`: how far a reduced row moves as its row does, along v."""
    if examined.has_ids:
        return None  # an id cannot move
    tangents = examined.tangents
    try:
        _, moved = directional_derivative(examined.layer, examined.rows, tangents, examined.context)
    except Unacceptable:
        return None
    lengths = vectors(tangents).norm(dim=-1)
    is_some = lengths > 0
    if not bool(is_some.any()):
        return None
    return float((vectors(moved).norm(dim=-1)[is_some] / lengths[is_some]).double().mean())
