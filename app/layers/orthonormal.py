"""Orthonormal rows: how far a weight is from having them, and two ways back to them."""

from __future__ import annotations

import torch
from torch import Tensor

# Note [Two retractions]
# After a step the rows of Q are orthonormal only nearly. Both ways back keep the row space of the
# stepped weight exactly; they differ in the basis they choose inside it (Gram-Schmidt order for QR,
# the nearest one for Newton-Schulz), and agree to first order for a step without drift.
#
# Three Newton-Schulz iterations, done on the small matrix E = Q Qᵀ - I, cost two large products
# where QR costs about five: measured on one CPU thread 0.32 against 0.41 ms at 96 x 384, 1.1
# against 1.7 ms at 128 x 1024, 77 against 132 ms at 512 x 4096. At 512 x 1024 both cost the same,
# and square weights are faster by QR, hence MAX_ASPECT.
#
# One iteration takes an eigenvalue e of E to -¾e² + ¼e³. From a drift (Frobenius norm of E, which
# bounds every |e|) of 0.2, three of them leave max |Q Qᵀ - I| ≤ 6.3e-7 in float32, of which 3e-7 is
# rounding; measured over nine shapes from 1 x 384 to 512 x 4096 with the drift in one row and in
# all. From 0.25 they would leave 3e-6. Adam at lr 1e-3 drifts by 0.03 to 0.16 a step at 96 x 384.
# A product with 1.5·I - 0.5·Q Qᵀ in place of E loses a digit (up to 3e-6).
MAX_DRIFT = 0.2
MAX_ASPECT = 0.5
ITERATIONS = 3


def sign_fixed_qr(weight: Tensor) -> Tensor:
    """The orthonormal factor of a QR decomposition whose R has a positive diagonal.

    `weightᵀ = Q R` for a wide weight gives orthonormal rows `Qᵀ`; `weight = Q R` for a tall one
    gives orthonormal columns `Q`. The positive diagonal makes it unique, so it is continuous in
    the weight and the same with every LAPACK. The sign of a zero on the diagonal is taken as +.

    Shape: weight (n, d); returns (n, d), contiguous.
    """
    is_wide = weight.shape[0] < weight.shape[1]
    factor, triangle = torch.linalg.qr(weight.mT if is_wide else weight)
    signed: Tensor = factor * torch.where(triangle.diagonal() < 0, -1, 1)
    return (signed.mT if is_wide else signed).contiguous()


def gram_deviation(weight: Tensor) -> Tensor:
    """How the Gram matrix differs from the identity: `E = W Wᵀ - I`.

    Shape: weight (n, d); returns (n, n).
    """
    deviation: Tensor = weight @ weight.mT
    deviation.diagonal().sub_(1)
    return deviation


def orthonormality_error(weight: Tensor) -> float:
    """Largest entry of `|W Wᵀ - I|` for a wide weight, of `|Wᵀ W - I|` for a tall one.

    Shape: weight (n, d). Not finite when the weight is not.
    """
    wide = weight if weight.shape[0] <= weight.shape[1] else weight.mT
    return float(gram_deviation(wide.detach()).abs().max())


def newton_schulz(weight: Tensor, deviation: Tensor) -> Tensor:
    """The nearest weight with orthonormal rows, `(W Wᵀ)^(-½) W`, by Newton-Schulz iterations.

    Each iteration is `W ← (I - ½E) W`, hence `E ← -¾E² + ¼E³`; the factors are multiplied in
    their own small space and applied once. See Note [Two retractions].

    Args:
        weight: nearly orthonormal rows: the norm of `deviation` is at most `MAX_DRIFT`.
        deviation: `gram_deviation(weight)`.

    Shape: weight (n, d), deviation (n, n); returns (n, d).
    """
    error = deviation
    change = -0.5 * error
    for _ in range(ITERATIONS - 1):
        square = error @ error
        error = torch.addmm(square, square, error, beta=-0.75, alpha=0.25)
        change = torch.addmm(change - 0.5 * error, error, change, alpha=-0.5)
    return torch.addmm(weight, change, weight)


def retracted(weight: Tensor) -> Tensor:
    """The weight with its rows made orthonormal again, a function of the weight alone.

    Newton-Schulz while the drift is small, sign-fixed QR otherwise; Note [Two retractions]. The
    result has `max |W Wᵀ - I| ≤ 1e-6` in float32.

    A weight that is not finite is returned as it is. QR would hide it: LAPACK raises nothing, and
    the QR of a single NaN is 1.

    Shape: weight (n, d) with n ≤ d; returns (n, d).
    """
    if weight.shape[0] <= MAX_ASPECT * weight.shape[1]:
        deviation = gram_deviation(weight)
        if float(deviation.norm()) <= MAX_DRIFT:
            return newton_schulz(weight, deviation)
    return sign_fixed_qr(weight) if torch.isfinite(weight).all() else weight
