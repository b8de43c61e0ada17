"""Each row nearer to its own positive than to those of the other rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from app.training.batch import TensorBatch
from app.training.losses.loss import LOSSES, MAX_PAIRED_ROWS, Loss
from app.training.reducer import Reducer
from app.training.rows import counted, same_rows, unit_rows, vectors, weighted_mean, without


@LOSSES.register("contrastive")
@dataclass(frozen=True)
class Contrastive(Loss):
    """InfoNCE over given positives, both ways, with the rest of the batch as negatives.

    `L = mean_i w_i · ½ (-log p(z⁺_i | z_i) - log p(z_i | z⁺_i))`, with
    `p(z⁺_i | z_i) = exp(s cos(z_i, z⁺_i)) / (sum_j w_j exp(s cos(z_i, z⁺_j)) +
    sum_j w_j exp(s cos(z_i, z⁻_j)))`, the own pair counting once, `p(z_i | z⁺_i)` the same over
    the rows z_j instead, and s the scale. The given negatives z⁻ of all rows join the first sum.
    What is no negative is left out: another pair with the same row or the same positive, and a
    given negative that is the row's own positive. The scale of x and z does not matter.

    With `uses_reservoir`, the vectors of the model's reservoir, where it keeps one, are negatives
    of both sides: their reductions join both sums, but for those of the row or its own positive.
    Many negatives then do not need a large batch.

    Shape: rows x, positives, negatives (rows, *input_shape), their reductions z, z⁺, z⁻
    (rows, *output_shape), sample_weights w (rows,); returns a scalar.

    Source: van den Oord et al. 2018, arXiv 1807.03748 (InfoNCE; both ways and by cosines here).
    """

    needs = frozenset({"positives"})
    accepts = frozenset({"negatives", "sample_weights"})
    max_rows = MAX_PAIRED_ROWS

    scale: Annotated[float, Field(gt=0, le=1000)] = 20.0
    uses_reservoir: bool = False

    @property
    def uses_bank(self) -> bool:
        """See `Loss.uses_bank`."""
        return self.uses_reservoir

    def __call__(self, batch: TensorBatch, reduced: Tensor, reducer: Reducer, /) -> Tensor:
        """`L` of one batch."""
        assert batch.positives is not None, "check_batch refuses a batch without positives"
        rows, positives = _units(batch.hidden_states), _units(batch.positives)
        twins = same_rows(rows, rows) | same_rows(positives, positives)
        small, small_positives = _units(reduced), _units(reducer(batch.positives))
        logits = self.scale * small @ small_positives.mT
        own, weights = logits.diagonal(), batch.sample_weights
        to_positives = [_others(logits, twins, weights)]
        to_rows = [_others(logits.mT, twins, weights)]
        if batch.negatives is not None:
            negatives = self.scale * small @ _units(reducer(batch.negatives)).mT
            known = same_rows(positives, _units(batch.negatives))
            to_positives.append(without(counted(negatives, weights), known))
        if self.uses_reservoir and batch.bank is not None:
            known = same_rows(rows, batch.bank) | same_rows(positives, batch.bank)
            candidates = self.scale * _units(reducer(batch.bank)).mT
            to_positives.append(without(small @ candidates, known))
            to_rows.append(without(small_positives @ candidates, known))
        losses = _surprise(own, to_positives) + _surprise(own, to_rows)
        return weighted_mean(losses / 2, weights)


def _units(rows: Tensor) -> Tensor:
    return unit_rows(vectors(rows))


def _others(logits: Tensor, twins: Tensor, weights: Tensor | None) -> Tensor:
    """The logits of the other pairs; the diagonal, each row's own pair, has no part in them."""
    left_out = twins | torch.eye(len(twins), dtype=torch.bool, device=twins.device)
    return without(counted(logits, weights), left_out)


def _surprise(own: Tensor, others: list[Tensor]) -> Tensor:
    """`-log` of the own pair's share, (rows,)."""
    return torch.cat([own[:, None], *others], dim=-1).logsumexp(dim=-1) - own
