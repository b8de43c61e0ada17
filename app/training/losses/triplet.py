"""Each row nearer to a positive than to a negative, by a margin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from app.training.batch import TensorBatch
from app.training.losses.loss import LOSSES, MAX_PAIRED_ROWS, Loss
from app.training.reducer import Reducer
from app.training.rows import mean_of_some, same_rows, unit_rows, vectors, weighted_mean


@LOSSES.register("triplet")
@dataclass(frozen=True)
class Triplet(Loss):
    """How far each row misses being nearer to its positive than to its negative, by a margin.

    `L = mean_i w_i · max(0, d(z_i, z⁺_i) - d(z_i, z⁻_i) + margin)`, with d the cosine distance,
    which the scale of z does not change, or the Euclidean one. With `mining: given` z⁺ and z⁻ are
    the reduced positives and negatives. With `mining: batch_hard` they are rows of the batch: of
    those with the same label the farthest, of those with another label the nearest; the mean is
    over the rows that have both. Exact duplicates of a row are none of its positives, and a row of
    weight 0 is nobody's.

    Shape: rows x, positives, negatives (rows, *input_shape), their reductions z, z⁺, z⁻
    (rows, *output_shape), labels (rows,), sample_weights w (rows,); returns a scalar.

    Source: sentence-transformers, losses/BatchHardTripletLoss.py (the choice within the batch).
    """

    margin: Annotated[float, Field(gt=0, le=1e6)] = 0.2
    distance: Literal["cosine", "euclidean"] = "cosine"
    mining: Literal["given", "batch_hard"] = "given"

    @property
    def needs(self) -> frozenset[str]:
        """See `Loss.needs`."""
        return frozenset({"positives", "negatives"} if self.mining == "given" else {"labels"})

    @property
    def max_rows(self) -> int | None:
        """See `Loss.max_rows`."""
        return None if self.mining == "given" else MAX_PAIRED_ROWS

    def __call__(self, batch: TensorBatch, reduced: Tensor, reducer: Reducer, /) -> Tensor:
        """`L` of one batch."""
        if self.mining == "batch_hard":
            return self._mined(batch, vectors(reduced))
        assert batch.positives is not None, "check_batch refuses a batch without positives"
        assert batch.negatives is not None, "check_batch refuses a batch without negatives"
        near = self._between(reduced, reducer(batch.positives))
        far = self._between(reduced, reducer(batch.negatives))
        return weighted_mean((near - far + self.margin).clamp_min(0), batch.sample_weights)

    def _mined(self, batch: TensorBatch, reduced: Tensor) -> Tensor:
        assert batch.labels is not None, "check_batch refuses a batch without labels"
        full = unit_rows(vectors(batch.hidden_states))
        is_alike = batch.labels[:, None] == batch.labels
        is_own = torch.eye(len(full), dtype=torch.bool, device=full.device)
        is_positive = is_alike & ~is_own & ~same_rows(full, full)
        is_negative = ~is_alike
        if batch.sample_weights is not None:
            is_positive &= batch.sample_weights > 0
            is_negative &= batch.sample_weights > 0
        distances = self._among(reduced)
        nothing = torch.finfo(distances.dtype).max / 4
        farthest = distances.masked_fill(~is_positive, -nothing).amax(dim=-1)
        nearest = distances.masked_fill(~is_negative, nothing).amin(dim=-1)
        has_both = is_positive.any(dim=-1) & is_negative.any(dim=-1)
        missed = (farthest - nearest + self.margin).clamp_min(0)
        return mean_of_some(missed, has_both, batch.sample_weights)

    def _between(self, first: Tensor, second: Tensor) -> Tensor:
        """The distance of each row to the same row of another tensor, (rows,)."""
        first, second = vectors(first), vectors(second)
        if self.distance == "euclidean":
            length: Tensor = torch.linalg.vector_norm(first - second, dim=-1)
            return length
        return 1 - (unit_rows(first) * unit_rows(second)).sum(dim=-1)

    def _among(self, rows: Tensor) -> Tensor:
        """The distances of all pairs of rows, (rows, rows)."""
        if self.distance == "euclidean":
            # By differences: the product form is inexact where rows are near each other.
            return torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist")
        units = unit_rows(rows)
        return 1 - units @ units.mT
