"""How far the cosines between the batch's rows move under reduction."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from app.training.batch import TensorBatch
from app.training.losses.loss import LOSSES, MAX_PAIRED_ROWS, Loss
from app.training.reducer import Reducer
from app.training.rows import gram_change, unit_rows, vectors


@LOSSES.register("similarity")
@dataclass(frozen=True)
class Similarity(Loss):
    """Mean squared change of the cosines between all pairs of the batch.

    `L = mean_ij w_i w_j · (cos(x_i, x_j) - cos(z_i, z_j))²` over all rows² ordered pairs, i = j
    among them; a zero row has cosine 0 with every row. The scale of x and z does not matter.
    Time and memory grow with rows²: a step of 4,096 rows, the most that is accepted, takes 320 MiB
    (measured on the CPU: five rows² float32 matrices at once).

    Shape: x (rows, input_size), z (rows, n_components), sample_weights w (rows,); returns a scalar.

    Source: Park et al. 2019, arXiv 1904.05068 (relations of rows; there by distance).
    """

    max_rows = MAX_PAIRED_ROWS

    def __call__(self, batch: TensorBatch, reduced: Tensor, _reducer: Reducer, /) -> Tensor:
        """`L` of one batch."""
        full, small = unit_rows(vectors(batch.hidden_states)), unit_rows(vectors(reduced))
        return gram_change(full, small, batch.sample_weights)
