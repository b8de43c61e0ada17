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
from app.training.recipes.width import narrowness
from app.training.reducer import Reducer

# A matrix of rows x candidates in float32 is then at most 64 MiB.
_MOST_COMPARED = MAX_PAIRED_ROWS**2
_SHORTEST_PREFIX = 8
# Against a whole reservoir a pair is pulled three to four times as hard as against its batch alone:
# with this the marks of the dial (0.3 is balanced) stay where they are.
_PULL = 1 / 4
# A narrow map exaggerates cosines; those of a wide one are nearly exact.
_SOFTENING = 0.1


@dataclass(frozen=True)
class DistilLoss(Loss):
    """Full neighbourhoods in the reduced ones, and pairs that find each other.

    `L = N(x, x⁺, r) + w/4 · P(x, x⁺)`, with N the divergence of the softmaxed cosines to the
    reservoir's vectors after reduction from those before it (loss `distil`), r those of the
    reservoir that are rehearsed, P the loss `contrastive` with the reservoir among the negatives,
    and w the pair weight; without positives it is `N(x, r)`. Of very many rows, evenly spaced ones
    stand for all of them in N, and of the reservoir in P, so that memory stays bounded.

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
        stride = _stride(len(rows), candidates)
        some = TensorBatch(hidden_states=rows[::stride], bank=batch.bank)
        value = self.neighbours(some, small[::stride], reducer)
        if batch.positives is None or not self.pair_weight:
            return value
        stride, bank = _stride(batch.rows, candidates), batch.bank
        if bank is not None and stride > 1:  # a slice is reduced once more
            bank = bank[::stride]
        pairs = self.pairs(replace(batch, bank=bank), reduced, reducer)
        return value + _PULL * self.pair_weight * pairs


def build_distil_loss(config: ModelConfig, n_components: int) -> DistilLoss:
    """The loss of a config; of a nested model at several prefixes, the halves of the width."""
    distil = config.distil
    softening = distil.softening
    if softening == "auto":
        softening = 1 + _SOFTENING * narrowness(n_components / config.input_size)
    neighbours: Loss = Neighbourhoods(temperature=distil.temperature, softening=softening)
    pairs: Loss = Contrastive(scale=distil.pair_scale, uses_reservoir=True)
    if config.nested:
        prefixes = _prefixes(n_components)
        neighbours = Nested(loss=neighbours, dimensions=prefixes)
        pairs = Nested(loss=pairs, dimensions=prefixes)
    return DistilLoss(neighbours=neighbours, pairs=pairs, pair_weight=distil.pair_weight)


def _stride(rows: int, candidates: int) -> int:
    return -(-rows * candidates // _MOST_COMPARED)


def _prefixes(n_components: int) -> tuple[int, ...]:
    """The width and its halves down to `_SHORTEST_PREFIX`.

    >>> _prefixes(96)
    (96, 48, 24, 12)
    """
    prefixes = [n_components]
    while prefixes[-1] // 2 >= _SHORTEST_PREFIX:
        prefixes.append(prefixes[-1] // 2)
    return tuple(prefixes)
