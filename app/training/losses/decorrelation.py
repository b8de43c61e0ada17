"""Components that agree between a row and its positive, and tell different things."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field
from torch import Tensor

from app.training.batch import TensorBatch
from app.training.losses.loss import LOSSES, Loss
from app.training.reducer import Reducer
from app.training.rows import unit_rows, vectors

# Of a component whose values differ by rounding only.
_CONSTANT = 1e-6


@LOSSES.register("decorrelation")
@dataclass(frozen=True)
class Decorrelation(Loss):
    """Redundancy reduction: the correlation of components over the batch, against the identity.

    `L = (sum_a (1 - C_aa)² + redundancy · sum_{a≠b} C_ab²) / n_components`, with C_ab the
    correlation over the batch, weighted by w, of component a of the rows with component b of their
    positives. Without positives C is the correlation of the rows' own components, and the first
    sum is zero: components are only made independent. A component that is the same in every row
    has correlation 0. The scale of each component of z does not matter.

    Shape: rows x and positives (rows, *input_shape), z (rows, *output_shape), sample_weights w
    (rows,); returns a scalar.

    Source: barlowtwins, main.py (without its projector; the division by n_components is ours).
    """

    accepts = frozenset({"positives", "sample_weights"})

    redundancy: Annotated[float, Field(gt=0, le=100)] = 0.005

    def __call__(self, batch: TensorBatch, reduced: Tensor, reducer: Reducer, /) -> Tensor:
        """`L` of one batch."""
        first = second = _components(vectors(reduced), batch.sample_weights)
        if batch.positives is not None:
            second = _components(vectors(reducer(batch.positives)), batch.sample_weights)
        correlations = first @ second.mT
        own = correlations.diagonal()
        across = correlations.square().sum() - own.square().sum()
        if batch.positives is None:
            return self.redundancy * across / len(own)
        return ((1 - own).square().sum() + self.redundancy * across) / len(own)


def _components(rows: Tensor, weights: Tensor | None) -> Tensor:
    """Each component over the batch: centred, of length 1; (n_components, rows)."""
    shares = rows.new_ones(len(rows)) if weights is None else weights
    shares = (shares / shares.sum())[:, None]
    roots = shares.sqrt()
    centred = (rows - (shares * rows).sum(dim=0)) * roots
    # By the largest entries, whose squares could overflow.
    spread, size = centred.abs().amax(dim=0), (rows * roots).abs().amax(dim=0)
    is_constant = spread <= _CONSTANT * size
    return unit_rows(centred.masked_fill(is_constant, 0).mT)
