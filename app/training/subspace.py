"""Subspaces: the leading one of a second moment, its basis nearest to another, what it captures."""

from __future__ import annotations

import torch
from torch import Tensor

from app.training.eigenvectors import leading_eigenvectors


def leading_basis(second_moment: Tensor, previous: Tensor) -> Tensor:
    """Leading eigenvectors of a second moment, as rows, the largest eigenvalue first.

    A moment of fewer independent vectors than components has no more eigenvectors that say
    anything; the rest of the basis is then as much of the previous one as is orthogonal to them.

    Args:
        second_moment: C (width, width), symmetric.
        previous: rows (k, width) of rank k, k at most width.

    Shape: returns (k, width), orthonormal, in float64.
    """
    k, width = previous.shape
    values, leading = leading_eigenvectors(second_moment, k)
    noise = values[0] * width * torch.finfo(second_moment.dtype).eps
    rank = int((values > noise).sum())
    if rank == k:
        return leading
    leading = leading[:rank]
    older = previous.to(leading.dtype)
    rest = older - older @ leading.mT @ leading
    directions = torch.linalg.svd(rest, full_matrices=False).Vh[: k - rank]
    return torch.cat([leading, directions])


def rotated_onto(basis: Tensor, previous: Tensor, second_moment: Tensor) -> Tensor:
    """The same subspace in the basis whose coordinates are nearest to the previous map's.

    `R Q`, with the rotation `R = V Uᵀ` from the singular value decomposition
    `Q C Pᵀ = U S Vᵀ`: it minimises `E ‖R Q x - P x‖²` over the vectors x with `E[x xᵀ] = C`. No
    cosine between reduced vectors changes.

    Shape: basis Q, previous P (k, width), second_moment C (width, width); returns (k, width).
    """
    return nearest_rotation(_between(basis, previous, second_moment)) @ basis


def nearest_rotation(agreement: Tensor) -> Tensor:
    """The orthogonal matrix that brings vectors nearest to their partners (Procrustes).

    `R = V Uᵀ` from `A = U S Vᵀ`, the largest `trace(R A)` there is; with `A = E[z yᵀ]` it minimises
    `E ‖R z - y‖²`. It may reflect.

    Shape: agreement A (k, k); returns the same.
    """
    U, _, Vh = torch.linalg.svd(agreement)
    rotation: Tensor = Vh.mT @ U.mT
    return rotation


def signed_like(basis: Tensor, previous: Tensor, second_moment: Tensor) -> Tensor:
    """The same rows, each with the sign that brings its coordinate nearest to the previous map's.

    For a basis whose order means something, so that it may not be rotated.

    Shape: as for `rotated_onto`.
    """
    agreement = _between(basis, previous, second_moment).diagonal()
    return basis * torch.where(agreement < 0, -1.0, 1.0)[:, None]


def captured_share(weight: Tensor, vectors: Tensor) -> float:
    """The share of the vectors' energy in the row space of a map.

    `sum ‖P x‖² / sum ‖x‖²`, P the orthogonal projector on the rows of the weight.

    Shape: weight (k, width), vectors (count, width), not all of them zero.
    """
    basis = torch.linalg.qr(weight.mT).Q
    return float(((vectors @ basis).square().sum() / vectors.square().sum()).clamp(max=1.0))


def _between(basis: Tensor, previous: Tensor, second_moment: Tensor) -> Tensor:
    return basis @ second_moment.to(basis.dtype) @ previous.to(basis.dtype).mT
