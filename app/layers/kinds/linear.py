"""Layers that multiply with one matrix."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from app.errors import ConfigInvalid
from app.layers.arguments import WIDTHS, check_arguments
from app.layers.kind import KINDS, Declared, Shape
from app.layers.qr_reduction import QRReduction
from app.layers.widths import last, size


@KINDS.register("QRReduction")
class QRReductionKind:
    """`hidden_states @ Q_reducedᵀ + bias`: the trained matrix that this service is about."""

    @staticmethod
    def declare(arguments: Mapping[str, Any], shape: Shape, *, pointer: str) -> Declared:
        """See `Kind.declare`; the last dimension is reduced."""
        width = last(shape, "QRReduction", pointer=pointer)
        known = check_arguments(
            QRReduction, arguments, pointer=pointer, derived={"input_size": width}
        )
        n_components, bias = known["n_components"], known.get("bias", False)
        return Declared(
            make=partial(QRReduction.bare, n_components, width, bias=bias),
            begin=partial(_begin, known, pointer),
            output=(*shape[:-1], n_components),
            direct=partial(_direct, "Q_reduced"),
            multiply_adds=size(shape) * n_components,
            adds_bias=bias and len(shape) == 1,
        )


@KINDS.register("Linear")
class LinearKind:
    """`x Wᵀ + b` over the last dimension."""

    @staticmethod
    def declare(arguments: Mapping[str, Any], shape: Shape, *, pointer: str) -> Declared:
        """See `Kind.declare`."""
        width = last(shape, "Linear", pointer=pointer)
        known = check_arguments(
            nn.Linear,
            arguments,
            pointer=pointer,
            derived={"in_features": width},
            bounds={"out_features": WIDTHS},
            hints={"bias": bool},
        )
        return Declared(
            make=partial(nn.Linear, **known),
            output=(*shape[:-1], known["out_features"]),
            direct=partial(_direct, "weight"),
            multiply_adds=size(shape) * known["out_features"],
            adds_bias=known.get("bias", True) and len(shape) == 1,
        )


def _direct(weight: str, tensors: Mapping[str, Tensor]) -> Callable[[Tensor], Tensor]:
    return partial(F.linear, weight=tensors[weight], bias=tensors.get("bias"))


def _begin(known: Mapping[str, Any], pointer: str, module: nn.Module) -> None:
    assert isinstance(module, QRReduction)
    try:
        module.begin(known.get("init", "orthogonal"), known.get("parametrization", "none"))
    except ConfigInvalid as error:
        raise ConfigInvalid(error.detail, pointer=f"{pointer}{error.pointer}") from None
