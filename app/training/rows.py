"""Row-wise pieces that several losses share: the weighted mean, unit rows."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

# Between these, squares of a row of any allowed width neither overflow nor underflow in float32.
_SMALLEST, _LARGEST = 1e-15, 1e15


def weighted_mean(row_losses: Tensor, sample_weights: Tensor | None) -> Tensor:
    """Mean over rows, `sum_i w_i l_i / sum_i w_i`.

    Without weights every row counts alike.

    Shape: row_losses (rows,), sample_weights (rows,); returns a scalar.
    """
    if sample_weights is None:
        return row_losses.mean()
    return (sample_weights * row_losses).sum() / sample_weights.sum()


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
