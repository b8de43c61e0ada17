"""Pooling over maps: rows (channels, height, width)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, TypeAlias

from torch import nn

from app.errors import ConfigInvalid
from app.layers.arguments import WIDTHS, Bound, check_arguments
from app.layers.kind import KINDS, Declared, Shape
from app.layers.trial import tried_output
from app.layers.widths import check_rank
from app.layers.windows import WINDOW_BOUNDS, check_reach, check_windows, each

_Layer: TypeAlias = type[nn.MaxPool2d | nn.AvgPool2d | nn.AdaptiveAvgPool2d]

_BOUNDS: Mapping[str, Bound] = {
    **WINDOW_BOUNDS,
    "divisor_override": WIDTHS,
    # Where the largest numbers were is not what the next layer takes.
    "return_indices": (False,),
}

# torch also takes null for both sizes, and fails at the first rows.
_HINTS: Mapping[str, Any] = {"output_size": int | tuple[int | None, ...]}


class MapPooling:
    """Pooling of one kind.

    Args:
        layer: torch's class.
        doc: what it computes, in one line.
    """

    def __init__(self, layer: _Layer, doc: str) -> None:
        self.__doc__ = doc
        self._layer = layer

    def declare(self, arguments: Mapping[str, Any], shape: Shape, *, pointer: str) -> Declared:
        """See `Kind.declare`."""
        check_rank(shape, (3,), self._layer.__name__, pointer=pointer)
        hints = _HINTS if self._layer is nn.AdaptiveAvgPool2d else {}
        arguments = check_arguments(
            self._layer, arguments, pointer=pointer, bounds=_BOUNDS, hints=hints
        )
        check_windows(arguments, 2, pointer=pointer)
        if "kernel_size" in arguments:
            _check_margins(arguments, pointer)
            if not arguments.get("ceil_mode"):  # which may begin a window that the rows do not fill
                check_reach(arguments, shape, pointer=pointer)
        make = partial(self._layer, **arguments)
        return Declared(make=make, output=tried_output(make, shape, pointer=pointer))


def _check_margins(arguments: Mapping[str, Any], pointer: str) -> None:
    """Refuse windows that could lie in the padding alone."""
    kernels, margins = (
        each(size, 2) for size in (arguments["kernel_size"], arguments.get("padding", 0))
    )
    for kernel, margin in zip(kernels, margins, strict=True):
        if 2 * margin > kernel:
            raise ConfigInvalid(
                f"expected padding of at most half of kernel_size, {kernel // 2}, got {margin}",
                pointer=f"{pointer}/padding",
            )


KINDS.register("MaxPool2d")(
    MapPooling(
        nn.MaxPool2d, "The largest number of each window of a map (channels, height, width)."
    )
)
KINDS.register("AvgPool2d")(
    MapPooling(nn.AvgPool2d, "The mean of each window of a map (channels, height, width).")
)
KINDS.register("AdaptiveAvgPool2d")(
    MapPooling(
        nn.AdaptiveAvgPool2d,
        "The means of as many windows as `output_size` says, of a map (channels, height, width).",
    )
)
