"""Leading eigenvectors of a second moment, the same for the same matrix."""

from __future__ import annotations

import torch
from torch import Tensor


def leading_eigenvectors(second: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The largest eigenvalues of a symmetric matrix and their unit eigenvectors, in float64.

    Rows are orthonormal, also those beyond the rank of the matrix; the largest entry of each is
    positive, because the sign that LAPACK chooses means nothing.

    Shape: second (width, width); returns (count,), falling, and (count, width).
    """
    values, vectors = torch.linalg.eigh(second.to(torch.float64))
    leading = vectors.mT.flip(0)[:count]
    largest = leading.gather(1, leading.abs().argmax(dim=1, keepdim=True))
    return values.flip(0)[:count], leading * torch.where(largest < 0, -1, 1)
