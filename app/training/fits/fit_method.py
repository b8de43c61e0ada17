"""What a fit is: weights in closed form from the moments of a stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from app.config import Arguments, Component, parse_arguments
from app.registry import Registry
from app.training.eigenvectors import leading_eigenvectors
from app.training.metrics.energy import row_space
from app.types import SeenMoments

# From so many vectors on, more change little: measured, quality.md sections 5 and 7.
_ENOUGH_VECTORS = 2048
_ENOUGH_A_COMPONENT = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """How the vectors of a stream spread, in float64.

    Shape: second, within (width, width); mean (width,).

    Attributes:
        second: E[x xᵀ] around `mean`.
        mean: what is subtracted: zeros, unless centring was asked for.
        within: E[h hᵀ] over half the differences of pairs; None without pairs.
    """

    second: Tensor
    mean: Tensor
    within: Tensor | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """What a fit gives a linear layer: `weight @ x + bias`.

    Shape: weight (n_components, width), bias (n_components,), both float32.

    Attributes:
        explained_variance: share of the spread that the row space of the weight captures.
    """

    weight: Tensor
    bias: Tensor
    explained_variance: float


class FitMethod(Arguments):
    """A way to compute weights; its fields are its JSON arguments.

    Attributes:
        needs_pairs: whether it learns from positives.
    """

    needs_pairs: ClassVar[bool] = False

    @property
    def is_other(self) -> bool:
        """Whether it gives others than the leading eigenvectors, which `distil` makes itself."""
        return True

    center: bool = Field(
        default=False,
        description="subtract the mean, by the layer's bias; costs neighbours by cosine",
    )
    normalize: bool = Field(
        default=False,
        description="divide each vector by its length first; a model with the recipe distil always "
        "does",
    )

    def weight(self, spread: Spread, n_components: int) -> Tensor:
        """The rows of the weight, most important first.

        Shape: returns (n_components, width), float64, finite.
        """
        raise NotImplementedError

    def fitted(self, moments: SeenMoments, n_components: int) -> Fitted:
        """Weight and bias for these moments."""
        spread = self._spread(moments)
        weight = self.weight(spread, n_components)
        return Fitted(
            weight=weight.float().contiguous(),
            bias=-(weight @ spread.mean).float(),
            explained_variance=_captured(weight, spread.second),
        )

    def _spread(self, moments: SeenMoments) -> Spread:
        mean = torch.tensor(moments.total, dtype=torch.float64) / moments.vectors
        second = torch.tensor(moments.second, dtype=torch.float64) / moments.vectors
        within = None
        if moments.pairs is not None:
            within = torch.tensor(moments.pairs, dtype=torch.float64) / moments.num_pairs
        if not self.center:
            return Spread(second=second, mean=torch.zeros_like(mean), within=within)
        return Spread(second=second - torch.outer(mean, mean), mean=mean, within=within)


FITS: Registry[type[FitMethod]] = Registry("fit method")


def read_method(component: Component) -> FitMethod:
    """The method that a request names.

    Raises:
        ConfigInvalid: an unknown name, or a bad argument; pointers begin with `/method`.
    """
    member = FITS.choose(component.type, pointer="/method")
    return parse_arguments(member, component.arguments, pointer="/method")


def vectors_advised(n_components: int) -> int:
    """How many vectors a fit should see."""
    return max(_ENOUGH_VECTORS, _ENOUGH_A_COMPONENT * n_components)


def scaled_eigenvectors(spread: Spread, n_components: int, *, power: float) -> Tensor:
    """Leading eigenvectors, each times its eigenvalue to a power: `λ_i^power v_i`.

    An eigenvalue below 1e-9 of the largest is rounding: its direction was never seen (there were
    fewer vectors than components). Such rows are scaled like the last one that was.

    Shape: returns (n_components, width).
    """
    values, vectors = leading_eigenvectors(spread.second, n_components)
    if not power:
        return vectors
    is_seen = values > 1e-9 * values[0].clamp_min(1e-300)
    smallest = values[is_seen].min() if is_seen.any() else torch.ones_like(values[0])
    return vectors * torch.where(is_seen, values, smallest).pow(power)[:, None]


def _captured(weight: Tensor, second: Tensor) -> float:
    """`trace(P C P) / trace(C)`, P the projector on the row space of the weight."""
    total = float(second.trace())
    basis = row_space(weight)
    captured = float(((basis @ second) * basis).sum())
    return min(1.0, captured / total) if total > 0 else 0.0
