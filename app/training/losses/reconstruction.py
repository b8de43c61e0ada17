"""What is lost on the way to the reduced vectors and back."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from app.training.batch import TensorBatch
from app.training.losses.loss import LOSSES, Loss
from app.training.reducer import Reducer
from app.training.rows import weighted_mean


@LOSSES.register("reconstruction")
@dataclass(frozen=True)
class ReconstructionError(Loss):
    """Mean squared reconstruction error of the layer used both ways.

    `L = mean_i w_i · ‖x_i - (z_i - b) Q‖²` with `z = x Qᵀ + b`; with orthonormal rows of Q it is
    zero exactly when every x_i lies in their span, and its minimum is uncentred PCA.

    Shape: x (rows, input_size), z (rows, n_components), Q (n_components, input_size),
    sample_weights w (rows,); returns a scalar in the units of x squared.

    Source: derived. Without a bias the mean is `tr C - 2 tr(Q C Qᵀ) + tr(Q C Qᵀ Q Qᵀ)`, C the
    uncentred second moment; `Qᵀ Q` has rank k, and the best of that rank (Eckart and Young) is the
    projector on the leading eigenvectors of C, which it can be. That linear autoencoders find that
    space: Plaut 2018, arXiv 1804.10253, abstract.
    """

    def __call__(self, batch: TensorBatch, reduced: Tensor, reducer: Reducer, /) -> Tensor:
        """`L` of one batch."""
        residual = batch.hidden_states - reducer.reconstruct(reduced)
        return weighted_mean(residual.square().sum(dim=-1), batch.sample_weights)
