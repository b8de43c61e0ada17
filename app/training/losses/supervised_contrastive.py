"""Rows of one label nearer to each other than to the rest of the batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from app.training.batch import TensorBatch
from app.training.losses.loss import LOSSES, MAX_PAIRED_ROWS, Loss
from app.training.reducer import Reducer
from app.training.rows import counted, mean_of_some, same_rows, unit_rows, vectors, without


@LOSSES.register("supervised_contrastive")
@dataclass(frozen=True)
class SupervisedContrastive(Loss):
    """Supervised contrastive loss: every other row of the same label is a positive.

    `L = mean_i w_i · -mean_p w_p log(exp(cos(z_i, z_p) / t) / sum_a w_a exp(cos(z_i, z_a) / t))`,
    with p over the other rows of row i's label, a over all other rows, t the temperature; the
    outer mean is over the rows that have a p. Exact duplicates of a row are no others. The scale
    of x and z does not matter.

    Shape: x (rows, *input_shape), z (rows, *output_shape), labels (rows,), sample_weights w
    (rows,); returns a scalar.

    Source: SupContrast, losses.py (the sum over positives outside the logarithm).
    """

    needs = frozenset({"labels"})
    max_rows = MAX_PAIRED_ROWS

    temperature: Annotated[float, Field(ge=1e-3, le=10)] = 0.1

    def __call__(self, batch: TensorBatch, reduced: Tensor, _reducer: Reducer, /) -> Tensor:
        """`L` of one batch."""
        assert batch.labels is not None, "check_batch refuses a batch without labels"
        full, small = unit_rows(vectors(batch.hidden_states)), unit_rows(vectors(reduced))
        logits = small @ small.mT / self.temperature
        is_other = ~same_rows(full, full)
        is_other &= ~torch.eye(len(full), dtype=torch.bool, device=full.device)
        positives = (is_other & (batch.labels[:, None] == batch.labels)).to(logits.dtype)
        if batch.sample_weights is not None:
            positives = positives * batch.sample_weights
        totals = without(counted(logits, batch.sample_weights), ~is_other).logsumexp(dim=-1)
        weight = positives.sum(dim=-1)
        surprise = (positives * (totals[:, None] - logits)).sum(dim=-1)
        has_positives = weight > 0
        losses = surprise / torch.where(has_positives, weight, 1.0)
        return mean_of_some(losses, has_positives, batch.sample_weights)
