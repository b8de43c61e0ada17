"""How far the cosines between the batch's rows move under reduction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from app.training.batch import TensorBatch
from app.training.losses.loss import LOSSES, MAX_PAIRED_ROWS
from app.training.rows import unit_rows, weighted_mean


@LOSSES.register("similarity")
@dataclass(frozen=True)
class Similarity:
    """Mean squared change of the cosines between all pairs of the batch.

    `L = mean_ij w_i w_j · (cos(x_i, x_j) - cos(z_i, z_j))²` over all rows² ordered pairs, i = j
    among them; a zero row has cosine 0 with every row. The scale of x and z does not matter.
    Time and memory grow with rows²: a step of 4,096 rows, the most that is accepted, takes 320 MiB
    (measured on the CPU: five rows² float32 matrices at once).

    Shape: x (rows, input_size), z (rows, n_components), sample_weights w (rows,); returns a scalar.
    """

    needs: ClassVar[frozenset[str]] = frozenset()
    accepts: ClassVar[frozenset[str]] = frozenset({"sample_weights"})
    max_rows: ClassVar[int | None] = MAX_PAIRED_ROWS

    def __call__(self, batch: TensorBatch, reduced: Tensor, _layer: nn.Module, /) -> Tensor:
        """`L` of one batch."""
        full, small = unit_rows(batch.hidden_states), unit_rows(reduced)
        squares = (full @ full.T - small @ small.T).square()
        if batch.sample_weights is None:
            return squares.mean()
        per_row = (squares * batch.sample_weights).sum(dim=-1) / batch.sample_weights.sum()
        return weighted_mean(per_row, batch.sample_weights)
