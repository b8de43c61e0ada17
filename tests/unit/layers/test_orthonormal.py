from __future__ import annotations

import pytest
import torch
from torch import Tensor

from app.layers.orthonormal import (
    MAX_DRIFT,
    gram_deviation,
    newton_schulz,
    orthonormality_error,
    retracted,
    sign_fixed_qr,
)

# Promised in float32; 3e-7 of it is the rounding of sums of input_size products.
PROMISED = 1e-6


def drifted(n_components: int, input_size: int, drift: float, *, in_one_row: bool) -> Tensor:
    """Orthonormal rows, moved until the Frobenius norm of Q Qᵀ - I is `drift`."""
    generator = torch.Generator().manual_seed(0)
    weight = sign_fixed_qr(torch.randn(n_components, input_size, generator=generator))
    if in_one_row:
        weight[0] *= (1 - drift) ** 0.5
        return weight
    change = torch.randn(n_components, n_components, generator=generator)
    change = change + change.T
    return torch.addmm(weight, change, weight, alpha=0.5 * drift / float(change.norm()))


@pytest.mark.parametrize("in_one_row", [True, False])
@pytest.mark.parametrize("drift", [0.0, 1e-3, 0.03, 0.1, 0.199, 0.3, 0.9])
@pytest.mark.parametrize("shape", [(1, 384), (8, 32), (96, 384), (64, 128), (48, 64), (64, 64)])
def test_retracted_rows_are_orthonormal(
    shape: tuple[int, int], drift: float, in_one_row: bool
) -> None:
    weight = drifted(*shape, drift, in_one_row=in_one_row)
    assert orthonormality_error(retracted(weight).double()) <= PROMISED


@pytest.mark.parametrize(
    ("shape", "drift", "is_qr"),
    [
        ((8, 32), 0.19, False),
        ((8, 32), 0.21, True),
        ((16, 32), 0.01, False),
        ((17, 32), 0.01, True),
    ],
)
def test_drift_and_shape_choose_the_way_back(
    shape: tuple[int, int], drift: float, is_qr: bool
) -> None:
    weight = drifted(*shape, drift, in_one_row=False)
    by_qr, by_iteration = sign_fixed_qr(weight), newton_schulz(weight, gram_deviation(weight))
    assert not torch.equal(by_qr, by_iteration)
    assert torch.equal(retracted(weight), by_qr if is_qr else by_iteration)


def test_newton_schulz_gives_the_nearest_orthonormal_rows() -> None:
    weight = drifted(8, 32, MAX_DRIFT * 0.99, in_one_row=False)
    left, _, right = torch.linalg.svd(weight, full_matrices=False)
    nearest = newton_schulz(weight, gram_deviation(weight))
    torch.testing.assert_close(nearest, left @ right, rtol=0, atol=1e-6)


@pytest.mark.parametrize("drift", [0.1, 0.5])
def test_retraction_keeps_the_row_space(drift: float) -> None:
    weight = drifted(8, 32, drift, in_one_row=False)
    basis = retracted(weight)
    torch.testing.assert_close(weight @ basis.T @ basis, weight, rtol=0, atol=2e-6)


@pytest.mark.parametrize("shape", [(4, 9), (9, 9), (9, 4)])
def test_sign_fixed_qr_leaves_what_is_orthonormal(shape: tuple[int, int]) -> None:
    weight = sign_fixed_qr(torch.randn(*shape, generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(sign_fixed_qr(weight), weight, rtol=0, atol=1e-6)
    assert sign_fixed_qr(weight).is_contiguous()


def test_sign_fixed_qr_of_dependent_rows_is_still_orthonormal() -> None:
    assert orthonormality_error(sign_fixed_qr(torch.ones(3, 8))) <= PROMISED
    assert orthonormality_error(sign_fixed_qr(torch.zeros(3, 8))) <= PROMISED


def test_error_is_that_of_the_short_side() -> None:
    assert orthonormality_error(torch.eye(3, 5)) == orthonormality_error(torch.eye(5, 3)) == 0
    assert orthonormality_error(2 * torch.eye(3, 5)) == 3
    assert orthonormality_error(torch.full((2, 3), torch.nan)) != 0
