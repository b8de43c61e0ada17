"""The variational bottleneck as a kind of layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from app.allowed import Interval
from app.layers.arguments import WIDTHS, Bound, check_arguments
from app.layers.gaussian import Gaussian
from app.layers.kind import KINDS, Declared, Shape
from app.layers.widths import last, size

_BOUNDS: dict[str, Bound] = {
    "n_components": WIDTHS,
    "kl_weight": Interval(0.0, 1e6),
    "kl_warm_up": range(0, 1_000_000_001),
}


@KINDS.register("Gaussian")
class GaussianKind:
    """`m(x) + s(x) ε` in training, with a KL term in the loss; the mean `m(x)` in serving."""

    @staticmethod
    def declare(arguments: Mapping[str, Any], shape: Shape, *, pointer: str) -> Declared:
        """See `Kind.declare`; the last dimension is reduced."""
        width = last(shape, "Gaussian", pointer=pointer)
        known = check_arguments(
            Gaussian, arguments, pointer=pointer, derived={"input_size": width}, bounds=_BOUNDS
        )
        n_components = known["n_components"]
        return Declared(
            make=partial(Gaussian, **known),
            output=(*shape[:-1], n_components),
            direct=_direct,
            multiply_adds=size(shape) * n_components,
            adds_bias=known.get("bias", True) and len(shape) == 1,
        )


def _direct(tensors: Mapping[str, Tensor]) -> Callable[[Tensor], Tensor]:
    return partial(F.linear, weight=tensors["mean.weight"], bias=tensors.get("mean.bias"))
