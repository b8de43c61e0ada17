"""The loss of the recipe `distil`: neighbourhoods, and pairs where they come."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from app.config import ModelConfig
from app.training.batch import TensorBatch
from app.training.losses import Loss
from app.training.losses.contrastive import Contrastive
from app.training.losses.distil import Distil as Neighbourhoods
from app.training.losses.loss import MAX_PAIRED_ROWS
from app.training.losses.nested import Nested
from app.training.reducer import Reducer

# A matrix of rows x candidates in float32 is then at most 64 MiB.
_MOST_COMPARED = MAX_PAIRED_ROWS**2
_SHORTEST_PREFIX = 8


@dataclass(frozen=True)
class DistilLoss(Loss):
    """Full neighbourhoods in the reduced ones, and pairs that find each other.

    `L = N(x, x⁺, r) + w · P(x, x⁺)`, with N the divergence of the softmaxed cosines to the
    reservoir's vectors after reduction from those before it (loss `distil`), r those of the
    reservoir that are rehearsed, P the loss `contrastive`, and w the pair weight; without positives
    it is `N(x, r)`. Of very many rows, evenly spaced ones stand for all of them in N, so that
    memory stays bounded.

    Shape: as both losses have it; returns a scalar.
    """

    neighbours: Loss
    pairs: Loss
    pair_weight: float

    accepts = frozenset({"positives"})

    def __call__(self, batch: TensorBatch, reduced: Tensor, reducer: Reducer, /) -> Tensor:
        """`L` of one batch."""
        rows, small = batch.hidden_states, reduced
        if batch.positives is not None:
            rows = torch.cat([rows, batch.positives])
            small = torch.cat([small, reducer(batch.positives)])
        if batch.bank is not None and batch.rehearsed is not None:
            rows = torch.cat([rows, batch.bank[batch.rehearsed]])
            small = torch.cat([small, reducer(batch.bank)[batch.rehearsed]])
        candidates = len(rows) if batch.bank is None else len(batch.bank)
        stride = -(-len(rows) * candidates // _MOST_COMPARED)
        some = TensorBatch(hidden_states=rows[::stride], bank=batch.bank)
        value = self.neighbours(some, small[::stride], reducer)
        if batch.positives is None or not self.pair_weight:
            return value
        return value + self.pair_weight * self.pairs(replace(batch, bank=None), reduced, reducer)


def build_distil_loss(config: ModelConfig, n_components: int) -> DistilLoss:
    """The loss of a config; of a nested model at several prefixes, the halves of the width."""
    distil = config.distil
    neighbours: Loss = Neighbourhoods(temperature=distil.temperature, softening=distil.softening)
    pairs: Loss = Contrastive(scale=distil.pair_scale)
    if config.nested:
        prefixes = _prefixes(n_components)
        neighbours = Nested(loss=neighbours, dimensions=prefixes)
        pairs = Nested(loss=pairs, dimensions=prefixes)
    return DistilLoss(neighbours=neighbours, pairs=pairs, pair_weight=distil.pair_weight)


def _prefixes(n_components: int) -> tuple[int, ...]:
    """The width and its halves down to `_SHORTEST_PREFIX`.

    >>> _prefixes(96)
    (96, 48, 24, 12)
    """
    prefixes = [n_components]
    while prefixes[-1] // 2 >= _SHORTEST_PREFIX:
        prefixes.append(prefixes[-1] // 2)
    return tuple(prefixes)
