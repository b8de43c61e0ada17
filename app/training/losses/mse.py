"""Mean squared error to given targets."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from app.training.batch import TensorBatch
from app.training.losses.loss import LOSSES, Loss
from app.training.reducer import Reducer
from app.training.rows import vectors, weighted_mean


@LOSSES.register("mse")
@dataclass(frozen=True)
class MeanSquaredError(Loss):
    """Mean squared error to given targets.

    `L = mean_i w_i · mean_c (z_ic - t_ic)²`; without weights exactly `F.mse_loss(z, t)`. Its
    gradient grows with the scale of the targets.

    Shape: z and targets t (rows, n_components), sample_weights w (rows,); returns a scalar.

    Source: torch, `torch.nn.functional.mse_loss`.
    """

    needs = frozenset({"targets"})

    def __call__(self, batch: TensorBatch, reduced: Tensor, _reducer: Reducer, /) -> Tensor:
        """`L` of one batch."""
        assert batch.targets is not None, "check_batch refuses a batch without targets"
        if batch.sample_weights is None:
            return F.mse_loss(reduced, batch.targets)
        squares = F.mse_loss(reduced, batch.targets, reduction="none")
        return weighted_mean(vectors(squares).mean(dim=-1), batch.sample_weights)
