"""Layers that leave numbers out in training, and do nothing in serving."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import nn

from app.layers.arguments import SHARES, check_arguments
from app.layers.kind import KINDS, Declared, Shape
from app.layers.widths import check_rank


class Dropping:
    """Dropout of one kind.

    Args:
        layer: torch's class.
        ranks: how many dimensions a row may have; any, if empty.
        doc: what it computes, in one line.
    """

    def __init__(self, layer: type[nn.Module], ranks: tuple[int, ...], doc: str) -> None:
        self.__doc__ = doc
        self._layer = layer
        self._ranks = ranks

    def declare(self, arguments: Mapping[str, Any], shape: Shape, *, pointer: str) -> Declared:
        """See `Kind.declare`."""
        if self._ranks:
            check_rank(shape, self._ranks, self._layer.__name__, pointer=pointer)
        arguments = check_arguments(self._layer, arguments, pointer=pointer, bounds={"p": SHARES})
        return Declared(make=partial(self._layer, **arguments), output=shape)


KINDS.register("Dropout")(
    Dropping(nn.Dropout, (), "Each number 0 with probability `p`, or divided by `1 - p`.")
)
KINDS.register("Dropout2d")(
    Dropping(
        nn.Dropout2d,
        (3,),
        "The same for whole channels of a map (channels, height, width).",
    )
)
