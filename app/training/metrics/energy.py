"""Energy: how much of the vectors lies in the space that a weight keeps."""

from __future__ import annotations

import torch
from torch import Tensor


def captured_energy(weight: Tensor, second_moment: Tensor) -> float:
    """Energy in the row space of a weight, as a share of the most that its rank could hold: cap.

    `cap = trace(P C P) / Σ_{i ≤ k} λ_i(C)`, P the projector on the row space, k its dimension, λ_i
    the largest eigenvalues of the uncentred second moment C; 1 for leading eigenvectors, and the
    same for every basis of a space.

    Shape: weight (n_components, input_size), second_moment (input_size, input_size).
    """
    basis, moment = row_space(weight), second_moment.double()
    most = torch.linalg.eigvalsh(moment).flip(0)[: len(basis)].sum()
    return float(((basis @ moment) * basis).sum() / most) if most > 0 else 0.0


def row_space(weight: Tensor) -> Tensor:
    """Orthonormal rows that span the rows of a weight, in float64.

    Shape: weight (n_components, input_size); returns (rank, input_size).
    """
    _, sizes, directions = torch.linalg.svd(weight.double(), full_matrices=False)
    is_real = sizes > sizes[:1] * max(weight.shape) * torch.finfo(weight.dtype).eps
    basis: Tensor = directions[is_real]
    return basis
