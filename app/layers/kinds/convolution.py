"""Convolutions over sequences, maps and volumes, with torch's shapes: channels come first."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import partial
from math import prod
from typing import Any, Literal, TypeAlias

from torch import nn

from app.errors import ConfigInvalid
from app.layers.arguments import WIDTHS, Bound, check_arguments
from app.layers.kind import KINDS, Declared, Shape
from app.layers.trial import tried_output
from app.layers.widths import check_rank, known, size
from app.layers.windows import WINDOW_BOUNDS, check_reach, check_windows, each

# Torch says at the first use that it will copy; there is no other way to this padding.
warnings.filterwarnings("ignore", message="Using padding='same' with even kernel lengths")

_Layer: TypeAlias = type[nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d]

# torch takes any string here, and looks at it later.
_PADDING = {"padding": Literal["valid", "same"] | int | tuple[int, ...]}
_BOUNDS: Mapping[str, Bound] = {**WINDOW_BOUNDS, "out_channels": WIDTHS, "groups": WIDTHS}


class Convolving:
    """A convolution of one kind.

    Args:
        layer: torch's class.
        rank: how many dimensions a row has.
        doc: what it computes, in one line.
    """

    def __init__(self, layer: _Layer, rank: int, doc: str) -> None:
        self.__doc__ = doc
        self._layer = layer
        self._rank = rank

    def declare(self, arguments: Mapping[str, Any], shape: Shape, *, pointer: str) -> Declared:
        """See `Kind.declare`; the first dimension of a row counts the channels."""
        name = self._layer.__name__
        check_rank(shape, (self._rank,), name, pointer=pointer)
        arguments = check_arguments(
            self._layer,
            arguments,
            pointer=pointer,
            derived={"in_channels": known(shape, 0, name, pointer=pointer)},
            bounds=_BOUNDS,
            hints={} if self._layer is nn.ConvTranspose2d else _PADDING,
        )
        check_windows(arguments, self._rank - 1, pointer=pointer)
        _check_groups(arguments, pointer)
        _check_output_padding(arguments, self._rank - 1, pointer)
        if self._layer is not nn.ConvTranspose2d:  # which makes rows longer
            check_reach(arguments, shape, pointer=pointer)
        make = partial(self._layer, **arguments)
        output = tried_output(make, shape, pointer=pointer)
        multiply_adds = size(output) * _reach(arguments, self._rank - 1)
        adds_bias = arguments.get("bias", True)
        return Declared(make=make, output=output, multiply_adds=multiply_adds, adds_bias=adds_bias)


def _check_groups(arguments: Mapping[str, Any], pointer: str) -> None:
    groups = arguments.get("groups", 1)
    for name in ("in_channels", "out_channels"):
        if arguments[name] % groups:
            raise ConfigInvalid(
                f"expected groups to divide {name}, {arguments[name]}, got {groups}",
                pointer=f"{pointer}/groups",
            )


def _check_output_padding(arguments: Mapping[str, Any], dimensions: int, pointer: str) -> None:
    """Refuse what torch finds out at the first rows only."""
    padding, stride, dilation = (
        each(arguments.get(name, default), dimensions)
        for name, default in (("output_padding", 0), ("stride", 1), ("dilation", 1))
    )
    for added, *sizes in zip(padding, stride, dilation, strict=True):
        if added >= max(sizes):
            raise ConfigInvalid(
                "expected output_padding to be less than stride or dilation, in each dimension, "
                f"got {added}",
                pointer=f"{pointer}/output_padding",
            )


def _reach(arguments: Mapping[str, Any], dimensions: int) -> int:
    """How many numbers of its input one number of the output is made of, at most."""
    kernel, channels = arguments["kernel_size"], int(arguments["in_channels"])
    return channels * (prod(kernel) if isinstance(kernel, tuple) else kernel**dimensions)


KINDS.register("Conv1d")(
    Convolving(nn.Conv1d, 2, "Convolution over sequences; a row is (channels, length).")
)
KINDS.register("Conv2d")(
    Convolving(nn.Conv2d, 3, "Convolution over maps; a row is (channels, height, width).")
)
KINDS.register("Conv3d")(
    Convolving(nn.Conv3d, 4, "Convolution over volumes; a row is (channels, depth, height, width).")
)
KINDS.register("ConvTranspose2d")(
    Convolving(nn.ConvTranspose2d, 3, "Transposed convolution over maps (channels, height, width).")
)
