"""Cosine distance to given targets."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from app.training.batch import TensorBatch
from app.training.losses.loss import LOSSES, Loss
from app.training.reducer import Reducer
from app.training.rows import unit_rows, vectors, weighted_mean


@LOSSES.register("cosine")
@dataclass(frozen=True)
class CosineDistance(Loss):
    """Mean cosine distance to given targets; their lengths do not matter.

    `L = mean_i w_i · (1 - z_i·t_i / (‖z_i‖ ‖t_i‖))`, between 0 and 2; a zero row counts 1.

    Shape: z and targets t (rows, n_components), sample_weights w (rows,); returns a scalar.

    Source: torch, `torch.nn.CosineEmbeddingLoss` (its case y = 1).
    """

    needs = frozenset({"targets"})

    def __call__(self, batch: TensorBatch, reduced: Tensor, _reducer: Reducer, /) -> Tensor:
        """`L` of one batch."""
        assert batch.targets is not None, "check_batch refuses a batch without targets"
        wanted = unit_rows(vectors(batch.targets))
        cosines = (unit_rows(vectors(reduced)) * wanted).sum(dim=-1)
        return weighted_mean(1 - cosines, batch.sample_weights)
