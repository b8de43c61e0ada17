"""What is lost on the way to the reduced vectors and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

from torch import Tensor, nn

from app.errors import ConfigInvalid
from app.training.batch import TensorBatch
from app.training.losses.loss import LOSSES
from app.training.rows import weighted_mean


@runtime_checkable
class Reconstructs(Protocol):
    """A layer that can map reduced vectors back."""

    def reconstruct(self, reduced: Tensor) -> Tensor:
        """The hidden states that the reduced vectors stand for."""
        ...


@LOSSES.register("reconstruction")
@dataclass(frozen=True)
class ReconstructionError:
    """Mean squared reconstruction error of the layer used both ways.

    `L = mean_i w_i · ‖x_i - (z_i - b) Q‖²` with `z = x Qᵀ + b`; with orthonormal rows of Q it is
    zero exactly when every x_i lies in their span, and its minimum is uncentred PCA.

    Shape: x (rows, input_size), z (rows, n_components), Q (n_components, input_size),
    sample_weights w (rows,); returns a scalar in the units of x squared.
    """

    needs: ClassVar[frozenset[str]] = frozenset()
    accepts: ClassVar[frozenset[str]] = frozenset({"sample_weights"})
    max_rows: ClassVar[int | None] = None

    def __call__(self, batch: TensorBatch, reduced: Tensor, layer: nn.Module, /) -> Tensor:
        """`L` of one batch."""
        if not isinstance(layer, Reconstructs):
            raise ConfigInvalid(
                "loss 'reconstruction' needs a layer that maps back, such as QRReduction",
                pointer="/loss/type",
            )
        residual = batch.hidden_states - layer.reconstruct(reduced)
        return weighted_mean(residual.square().sum(dim=-1), batch.sample_weights)
