"""Alignment: the vectors of two versions, compared and turned into each other's space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from app.training.remembered import Remembered
from app.training.rows import unit_rows
from app.training.subspace import nearest_rotation
from app.types import AlignedBy

Rotation: TypeAlias = tuple[Tensor, AlignedBy]


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """How the vectors of one version do among those of another.

    Attributes:
        cosine: mean cosine of what the two make of the same vector.
        nn10: share of the nearest ten by the full vectors that queries of the one find in a corpus
            of the other.
    """

    cosine: float
    nn10: float


def cross(queries: Tensor, corpus: Tensor, remembered: Remembered) -> Crossing:
    """Hold every remembered vector, as one version reduces it, against the other's corpus.

    Shape: queries, corpus (vectors, n_components).
    """
    cosines = (unit_rows(queries) * unit_rows(corpus)).sum(dim=1)
    nn10 = float(remembered.found(queries, corpus).mean())
    return Crossing(cosine=float(cosines.double().mean()), nn10=nn10)


def rotation_of_weights(weight: Tensor, other: Tensor, remembered: Remembered) -> Rotation:
    """What turns `x Wᵀ` into the space of `x W'ᵀ`, from the second moment of x alone.

    `R = U Vᵀ` from `W C W'ᵀ = U S Vᵀ`, with `C = E[x xᵀ]` over every vector that was seen; it
    minimises `E ‖x Wᵀ R - x W'ᵀ‖²` over orthogonal R.

    Shape: weight W, other W' (n_components, width); returns (n_components, n_components), float64.
    """
    moment = remembered.moments.second.mean().to(weight.device, torch.float64)
    return nearest_rotation(weight.double() @ moment @ other.double().mT).mT, "moments"


def rotation_of_rows(rows: Tensor, others: Tensor) -> Rotation:
    """What turns reduced vectors into those that another version makes of the same.

    `R = U Vᵀ` from `Zᵀ Y = U S Vᵀ`, Z and Y their rows at length 1; it maximises the mean cosine
    of `z R` and `y` over orthogonal R.

    Shape: rows z, others y (vectors, n_components); returns (n_components, n_components), float64.
    """
    agreement = unit_rows(rows.double()).mT @ unit_rows(others.double())
    return nearest_rotation(agreement).mT, "reservoir"
