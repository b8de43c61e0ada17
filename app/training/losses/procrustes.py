"""Distance to given targets, in whatever orientation and scale they are."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from app.training.batch import TensorBatch
from app.training.losses.loss import LOSSES, Loss
from app.training.reducer import Reducer
from app.training.rows import unit_rows, vectors


@LOSSES.register("procrustes")
@dataclass(frozen=True)
class Procrustes(Loss):
    """What is left of the distance to given targets after the best orthogonal map and scale.

    `L = min_{R, s} ‖s Z R - T‖² / ‖T‖² = 1 - (‖Zᵀ T‖_* / (‖Z‖ ‖T‖))²`, rows weighted by w, with R
    orthogonal (with orthonormal rows or columns where the widths differ), ‖·‖_* the sum of the
    singular values; between 0 and 1. A rotation or a positive factor of Z or T changes nothing;
    nothing is centred.

    Shape: z (rows, n_components), targets t (rows, any width), sample_weights w (rows,); returns a
    scalar.

    Source: scipy, `scipy.linalg.orthogonal_procrustes` (the sum of the singular values).
    """

    needs = frozenset({"targets"})
    has_free_targets = True

    def __call__(self, batch: TensorBatch, reduced: Tensor, _reducer: Reducer, /) -> Tensor:
        """`L` of one batch."""
        assert batch.targets is not None, "check_batch refuses a batch without targets"
        ours = _of_length_one(vectors(reduced), batch.sample_weights)
        theirs = _of_length_one(vectors(batch.targets), batch.sample_weights)
        nuclear: Tensor = torch.linalg.svdvals(ours.mT @ theirs).sum()
        return 1 - nuclear.square()


def _of_length_one(rows: Tensor, weights: Tensor | None) -> Tensor:
    """The whole matrix, divided by the root of the sum of its squares."""
    if weights is not None:
        rows = rows * (weights / weights.sum()).sqrt()[:, None]
    return unit_rows(rows.reshape(1, -1)).view_as(rows)
