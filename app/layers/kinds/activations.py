"""Functions of each number, or of each vector, without weights."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import nn

from app.allowed import Interval
from app.layers.arguments import Bound, check_arguments
from app.layers.kind import KINDS, Declared, Shape

_SLOPES = Interval(-100.0, 100.0)


class Activation:
    """One of torch's activations, which keep the shape.

    Args:
        layer: torch's class.
        doc: what it computes, in one line.
        bounds: of its arguments.
    """

    def __init__(self, layer: type[nn.Module], doc: str, **bounds: Bound) -> None:
        self.__doc__ = doc
        self._layer = layer
        self._bounds = bounds

    def declare(self, arguments: Mapping[str, Any], shape: Shape, *, pointer: str) -> Declared:
        """See `Kind.declare`."""
        known = check_arguments(self._layer, arguments, pointer=pointer, bounds=self._bounds)
        return Declared(make=partial(self._layer, **known), output=shape)


KINDS.register("ReLU")(Activation(nn.ReLU, "`max(x, 0)`."))
KINDS.register("GELU")(
    Activation(nn.GELU, "`x Φ(x)`, Φ of the normal distribution.", approximate=("none", "tanh"))
)
KINDS.register("SiLU")(Activation(nn.SiLU, "`x / (1 + exp(-x))`."))
KINDS.register("Sigmoid")(Activation(nn.Sigmoid, "`1 / (1 + exp(-x))`."))
KINDS.register("Tanh")(Activation(nn.Tanh, "`tanh(x)`."))
KINDS.register("LeakyReLU")(
    Activation(nn.LeakyReLU, "`x` above 0, `negative_slope · x` below.", negative_slope=_SLOPES)
)


@KINDS.register("Softmax")
class SoftmaxKind:
    """`exp(x_i) / Σ exp(x_j)` along `dim`, the last one by default."""

    @staticmethod
    def declare(arguments: Mapping[str, Any], shape: Shape, *, pointer: str) -> Declared:
        """See `Kind.declare`; `dim` counts from the end, or from 1 behind the rows."""
        rank = len(shape)
        known = check_arguments(
            nn.Softmax,
            arguments,
            pointer=pointer,
            bounds={"dim": (*range(-rank, 0), *range(1, rank + 1), None)},
        )
        dim = known.get("dim")
        return Declared(make=partial(nn.Softmax, dim=-1 if dim is None else dim), output=shape)
