"""Live quality: what one version keeps of the vectors that the model remembers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from app.config import ModelConfig
from app.layers import is_lone_reduction, orthonormality_error, product
from app.training.metrics import mean_interval
from app.training.metrics.energy import row_space
from app.training.remembered import Remembered
from app.types import QualityDescription


@dataclass(frozen=True, slots=True, kw_only=True)
class Subspace:
    """Where the rows of a weight lie, held against the moments that were observed.

    Attributes:
        explained_variance: `trace(P C P) / trace(C)`, P the projector on the row space of the
            weight, C the uncentred second moment.
        captured_energy: the same in units of the most that as many components could have, which is
            1 for the leading eigenvectors.
        largest_angle_deg: largest principal angle between the row space and theirs. Where the
            eigenvalues around the last component are close, it is large and costs nothing.
        orthonormality_error: largest entry of `|Q Qᵀ - I|`.
    """

    explained_variance: float | None
    captured_energy: float | None
    largest_angle_deg: float | None
    orthonormality_error: float | None


_NOWHERE = Subspace(
    explained_variance=None,
    captured_energy=None,
    largest_angle_deg=None,
    orthonormality_error=None,
)


@torch.no_grad()
def take_quality(
    config: ModelConfig,
    tensors: Mapping[str, Tensor],
    remembered: Remembered,
    *,
    version: int,
    at: str,
) -> QualityDescription:
    """What weights keep of the vectors that a model remembers.

    Changes nothing, and is the same for the same arguments: any thread may call it.

    Args:
        config: what the layers are.
        tensors: as serving multiplies with them.
        remembered: the model's moments and reservoir, where the weights are.
        version: whose weights these are.
        at: the time, for people.
    """
    reduced = product(config, tensors)(remembered.vectors)
    shares = remembered.found(reduced, reduced)
    low, high = mean_interval(shares)
    lies = _NOWHERE
    if is_lone_reduction(config):
        lies = _subspace(tensors["Q_reduced"], remembered.moments.second.mean())
    return QualityDescription(
        version=version,
        at=at,
        queries=len(shares),
        recall10=float(shares.mean()),
        recall10_low=low,
        recall10_high=high,
        explained_variance=lies.explained_variance,
        captured_energy=lies.captured_energy,
        largest_angle_deg=lies.largest_angle_deg,
        orthonormality_error=lies.orthonormality_error,
    )


def _subspace(weight: Tensor, moment: Tensor) -> Subspace:
    """See `Subspace`; shape: weight (n_components, input_size), moment (input_size, input_size)."""
    basis = row_space(weight.cpu())
    values, vectors = torch.linalg.eigh(moment)
    most = float(values.flip(0)[: len(basis)].sum())
    kept = float(((basis.to(moment.dtype) @ moment) * basis).sum())
    leading = vectors[:, -len(basis) :].double()
    # The sine of the largest angle, which is exact where a cosine near 1 is not.
    beside = basis - (basis @ leading) @ leading.mT
    sine = min(1.0, float(torch.linalg.matrix_norm(beside, ord=2)))
    return Subspace(
        explained_variance=kept / float(moment.trace()),
        captured_energy=kept / most,
        largest_angle_deg=math.degrees(math.asin(sine)),
        orthonormality_error=orthonormality_error(weight),
    )
