"""Relations between rows as a teacher sees them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from app.training.batch import TensorBatch
from app.training.losses.loss import LOSSES, MAX_PAIRED_ROWS, Loss
from app.training.reducer import Reducer
from app.training.rows import gram_change, unit_rows, vectors


@LOSSES.register("relation")
@dataclass(frozen=True)
class Relation(Loss):
    """Mean squared difference of the cosines of all pairs, from those of a teacher's vectors.

    `L = mean_ij w_i w_j · (cos(t_i, t_j) - cos(z_i, z_j))²` over all rows² ordered pairs: loss
    `similarity` with given targets in the place of the hidden states. The teacher's vectors may
    be of any width. The scale of t and z does not matter.

    Shape: z (rows, *output_shape), targets t (rows, any width), sample_weights w (rows,); returns
    a scalar.

    Source: Park et al. 2019, arXiv 1904.05068 (relations of rows; there by distance).
    """

    needs = frozenset({"targets"})
    max_rows = MAX_PAIRED_ROWS
    has_free_targets = True

    def __call__(self, batch: TensorBatch, reduced: Tensor, _reducer: Reducer, /) -> Tensor:
        """`L` of one batch."""
        assert batch.targets is not None, "check_batch refuses a batch without targets"
        full, small = unit_rows(vectors(batch.targets)), unit_rows(vectors(reduced))
        return gram_change(full, small, batch.sample_weights)
