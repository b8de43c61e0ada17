"""Layers made of layers: one after another, around a shortcut, beside each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from torch import Tensor, nn

from app.errors import ConfigInvalid
from app.layers.arguments import check_only
from app.layers.kind import KINDS, NO_CONTEXT, Context, Declared, Shape
from app.layers.sequence import LAYERS_WANTED, LayerSequence, declare_sequence
from app.layers.widths import listed


@KINDS.register("Sequential")
class SequentialKind:
    """`layers`, an array, one after another."""

    @staticmethod
    def declare(arguments: Mapping[str, Any], shape: Shape, *, pointer: str) -> Declared:
        """See `Kind.declare`."""
        check_only({"layers": LAYERS_WANTED}, arguments, layer="Sequential", pointer=pointer)
        return replace(
            declare_sequence(arguments["layers"], shape, pointer=f"{pointer}/layers"),
            direct=None,
        )


class Residual(nn.Module):
    """`x + layers(x)`; tensors are named `layers.<index>.<name>`.

    Args:
        layers: give what they get, in shape.

    Shape: rows (rows, …); returns the same.
    """

    def __init__(self, layers: LayerSequence) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, rows: Tensor, context: Context = NO_CONTEXT) -> Tensor:
        """The sum of both ways."""
        changed: Tensor = self.layers(rows, context)
        return rows + changed


@KINDS.register("Residual")
class ResidualKind:
    """`x + layers(x)`, where `layers`, an array, keep the shape."""

    @staticmethod
    def declare(arguments: Mapping[str, Any], shape: Shape, *, pointer: str) -> Declared:
        """See `Kind.declare`."""
        check_only({"layers": LAYERS_WANTED}, arguments, layer="Residual", pointer=pointer)
        inner = declare_sequence(arguments["layers"], shape, pointer=f"{pointer}/layers")
        if inner.output != shape:
            raise ConfigInvalid(
                f"expected layers that make {listed(shape)} of {listed(shape)}, to be added to "
                f"their input, got {listed(inner.output)}",
                pointer=f"{pointer}/layers",
            )
        return replace(
            inner,
            make=partial(_make, inner),
            begin=partial(_begin, inner),
            direct=None,
            adds_bias=False,
            centres=False,
        )


def _make(inner: Declared) -> nn.Module:
    layers = inner.make()
    assert isinstance(layers, LayerSequence)
    return Residual(layers)


def _begin(inner: Declared, module: nn.Module) -> None:
    if inner.begin is not None:
        inner.begin(module.get_submodule("layers"))
