"""Parametrizations: constraints that a weight keeps during training, by name."""

from __future__ import annotations

from typing import ClassVar, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations as torch_parametrizations
from torch.nn.utils.parametrize import ParametrizationList, is_parametrized

from app.errors import ConfigInvalid
from app.layers.orthonormal import retracted
from app.registry import Registry


class Parametrization:
    """A constraint on one weight of a layer; a member overrides what it does differently.

    Attributes:
        is_orthonormal: whether it promises orthonormal rows (columns, of a tall weight).
    """

    is_orthonormal: ClassVar[bool] = False

    def check(self, n_components: int, input_size: int) -> None:
        """Refuse shapes that the constraint cannot hold for."""

    def attach(self, layer: nn.Module, name: str) -> None:
        """Constrain the parameter `name`, whose initial value may not meet the constraint."""
        self.retract_(layer, name)

    def retract_(self, layer: nn.Module, name: str) -> None:
        """Bring the weight back to the constraint after an accepted step, in place."""


PARAMETRIZATIONS: Registry[type[Parametrization]] = Registry("parametrization")


@PARAMETRIZATIONS.register("none")
class Unconstrained(Parametrization):
    """The plain matrix; nothing is kept."""


@PARAMETRIZATIONS.register("qr")
class OrthonormalRows(Parametrization):
    """Rows made orthonormal again after each accepted step; `max |Q Qᵀ - I| ≤ 1e-6`.

    Sign-fixed QR, or three Newton-Schulz iterations while `‖Q Qᵀ - I‖ ≤ 0.2` (measured; Note [Two
    retractions] in orthonormal.py). The parameter stays the same object, so that the optimizer's
    state carries over, and the result depends on the weight alone, so that replay gives the same
    bits. A weight that is not finite stays as it is, for the trainer to see.
    """

    is_orthonormal = True

    def check(self, n_components: int, input_size: int) -> None:
        """Refuse more rows than can be orthonormal.

        Raises:
            ConfigInvalid: n_components > input_size.
        """
        if n_components > input_size:
            raise ConfigInvalid(
                f"parametrization 'qr' expects n_components of at most input_size {input_size}, "
                f"got {n_components}; lower it or choose another parametrization",
                pointer="/parametrization",
            )

    @torch.no_grad()
    def retract_(self, layer: nn.Module, name: str) -> None:
        """Make the rows orthonormal again."""
        weight = layer.get_parameter(name)
        weight.copy_(retracted(weight))


@PARAMETRIZATIONS.register("orthogonal")
class Orthogonal(Parametrization):
    """Torch's `parametrizations.orthogonal`: gradients flow through Householder reflectors.

    30 to 600 times slower than a plain weight on wide layers, by its map and the width. As used
    here a train step of 64 rows took 25 ms against 0.31 at 96 x 384 (81 times) and 581 against
    0.96 at 256 x 1024 (600 times), one CPU thread. Prefer `qr`. Note [Householder without
    a base] says how it is used.
    """

    is_orthonormal = True

    def attach(self, layer: nn.Module, name: str) -> None:
        """Put torch's parametrization on the weight, which becomes orthonormal by a QR."""
        torch_parametrizations.orthogonal(
            layer, name, orthogonal_map="householder", use_trivialization=False
        )
        raw = _chain(layer, name).original
        # Other strides sum in another order; state read back from disk is contiguous.
        raw.data = raw.data.contiguous()

    @torch.no_grad()
    def retract_(self, layer: nn.Module, name: str) -> None:
        """Put the raw diagonal back to ±1, where it is finite (torch says that NaN has sign 0)."""
        diagonal = _chain(layer, name).original.diagonal()
        diagonal.copy_(torch.where(diagonal.isfinite(), diagonal.sign(), diagonal))


# Note [Householder without a base]
# Torch's default completes a wide weight to a square `base` with numbers from the global generator
# each time one is assigned, and keeps it as a buffer of input_size²: not reproducible, not small.
# The Householder map without it is exact, and a function of the weight alone. Its price: the
# diagonal of the raw weight holds signs that forward truncates to integers, so that a decay of
# 1 to 0.999 would silently turn a row into zeros; hence `retract_`.


class _Invertible(Protocol):
    def right_inverse(self, value: Tensor) -> Tensor: ...


@torch.no_grad()
def assign_(layer: nn.Module, name: str, value: Tensor) -> None:
    """Set the plain value of a weight that may be parametrized, in place.

    Torch's own assignment replaces the raw storage, and may change its strides.
    """
    if not is_parametrized(layer, name):
        layer.get_parameter(name).copy_(value)
        return
    chain = _chain(layer, name)
    for step in reversed(chain):
        value = cast(_Invertible, step).right_inverse(value)
    chain.original.copy_(value)


def _chain(layer: nn.Module, name: str) -> ParametrizationList:
    return cast(ParametrizationList, layer.get_submodule(f"parametrizations.{name}"))
