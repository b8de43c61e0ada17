"""Cosine distance to given targets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from app.training.batch import TensorBatch
from app.training.losses.loss import LOSSES
from app.training.rows import unit_rows, weighted_mean


@LOSSES.register("cosine")
@dataclass(frozen=True)
class CosineDistance:
    """Mean cosine distance to given targets; their lengths do not matter.

    `L = mean_i w_i · (1 - z_i·t_i / (‖z_i‖ ‖t_i‖))`, between 0 and 2; a zero row counts 1.

    Shape: z and targets t (rows, n_components), sample_weights w (rows,); returns a scalar.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"targets"})
    accepts: ClassVar[frozenset[str]] = frozenset({"sample_weights"})
    max_rows: ClassVar[int | None] = None

    def __call__(self, batch: TensorBatch, reduced: Tensor, _layer: nn.Module, /) -> Tensor:
        """`L` of one batch."""
        assert batch.targets is not None, "check_batch refuses a batch without targets"
        cosines = (unit_rows(reduced) * unit_rows(batch.targets)).sum(dim=-1)
        return weighted_mean(1 - cosines, batch.sample_weights)
