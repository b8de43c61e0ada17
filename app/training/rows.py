"""Pieces that several losses share: weighted means, unit rows, softmaxes over candidates."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

# Between these, squares of a row of any allowed width neither overflow nor underflow in float32.
_SMALLEST, _LARGEST = 1e-15, 1e15
# Of a cosine of 1 in float32: a few units in the last place.
_SAME = 1e-6
# exp of it is 0, and unlike -inf it leaves a number where nothing else stands.
_NOTHING = -1e9


def weighted_mean(row_losses: Tensor, sample_weights: Tensor | None) -> Tensor:
    """Mean over rows, `sum_i w_i l_i / sum_i w_i`.

    Without weights every row counts alike.

    Shape: row_losses (rows,), sample_weights (rows,); returns a scalar.
    """
    if sample_weights is None:
        return row_losses.mean()
    return (sample_weights * row_losses).sum() / sample_weights.sum()


def mean_of_some(row_losses: Tensor, is_some: Tensor, sample_weights: Tensor | None) -> Tensor:
    """Weighted mean over the rows that `is_some` says; 0 when there are none.

    Shape: row_losses, is_some and sample_weights (rows,); returns a scalar.
    """
    weights = is_some.to(row_losses.dtype)
    if sample_weights is not None:
        weights = weights * sample_weights
    total = weights.sum()
    return (weights * row_losses).sum() / torch.where(total > 0, total, 1.0)


def unit_rows(rows: Tensor) -> Tensor:
    """Rows divided by their Euclidean norm, `x_i / ‖x_i‖`; a zero row stays zero.

    The bits are those of `torch.nn.functional.normalize`, except for rows so large or small that
    their squares would overflow or vanish: those are first divided by their largest entry, which
    cancels in the quotient.

    Shape: rows (rows, width); returns the same.
    """
    largest = rows.detach().abs().amax(dim=-1, keepdim=True)
    is_extreme = (largest > _LARGEST) | ((largest < _SMALLEST) & (largest > 0))
    return F.normalize(rows / torch.where(is_extreme, largest, 1.0), dim=-1)


def vectors(rows: Tensor) -> Tensor:
    """Rows of any shape as vectors.

    Shape: rows (rows, …); returns (rows, width).
    """
    return rows if rows.ndim == 2 else rows.flatten(1)


def same_rows(first: Tensor, second: Tensor) -> Tensor:
    """Which rows are exact duplicates but for their length: cosine 1 to rounding.

    Shape: first (rows, width), second (others, width), both of unit rows; returns (rows, others),
    bool. A zero row is nobody's duplicate.
    """
    return are_same(first @ second.mT)


def are_same(cosines: Tensor) -> Tensor:
    """Which cosines are those of exact duplicates; see `same_rows`.

    Shape: cosines (rows, others); returns the same, bool.
    """
    return cosines > 1 - _SAME


def without(logits: Tensor, left_out: Tensor) -> Tensor:
    """Logits in which some entries have no part in a softmax; one without any other is uniform.

    Shape: logits and left_out (rows, candidates); returns the same.
    """
    return logits.masked_fill(left_out, _NOTHING)


def counted(logits: Tensor, weights: Tensor | None) -> Tensor:
    """Logits in which candidate j counts w_j times: `exp(l_ij) → w_j exp(l_ij)`.

    Shape: logits (rows, candidates), weights (candidates,); returns the same as logits.
    """
    if weights is None:
        return logits
    return without(logits + weights.clamp_min(_SMALLEST).log(), (weights == 0).expand_as(logits))


def gram_change(full: Tensor, small: Tensor, sample_weights: Tensor | None) -> Tensor:
    """Mean squared difference of the products of all pairs of rows, `(full fullᵀ - small smallᵀ)²`.

    Pair (i, j) weighs w_i w_j.

    Shape: full (rows, width), small (rows, other width), sample_weights (rows,); returns a scalar.
    """
    squares = (full @ full.T - small @ small.T).square()
    if sample_weights is None:
        return squares.mean()
    per_row = (squares * sample_weights).sum(dim=-1) / sample_weights.sum()
    return weighted_mean(per_row, sample_weights)
