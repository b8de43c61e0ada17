"""What layers read off the shape of their input, with a refusal where it is not there."""

from __future__ import annotations

import math

from app.errors import ConfigInvalid
from app.layers.kind import Shape


def last(shape: Shape, layer: str, *, pointer: str) -> int:
    """The width that a layer works on: the last dimension.

    Raises:
        ConfigInvalid: it may be any.
    """
    return known(shape, len(shape) - 1, layer, pointer=pointer)


def known(shape: Shape, dimension: int, layer: str, *, pointer: str) -> int:
    """The length of one dimension of a row.

    Raises:
        ConfigInvalid: it may be any.
    """
    length = shape[dimension]
    if length is None:
        raise ConfigInvalid(
            f"{layer} expects dimension {dimension} of its rows to have a fixed length, got "
            f"{listed(shape)}; fix it in input_shape",
            pointer=f"{pointer}/type",
        )
    return length


def check_rank(shape: Shape, ranks: tuple[int, ...], layer: str, *, pointer: str) -> None:
    """Refuse an input of another number of dimensions than a layer takes.

    Raises:
        ConfigInvalid: with the shape that it would get.
    """
    if len(shape) not in ranks:
        allowed = " or ".join(map(str, ranks))
        raise ConfigInvalid(
            f"{layer} expects rows of {allowed} dimensions, got {listed(shape)}; set input_shape, "
            "or change the layers before",
            pointer=f"{pointer}/type",
        )


def size(shape: Shape) -> int:
    """How many numbers a row holds; a dimension of any length counts as one."""
    return math.prod(length or 1 for length in shape)


def listed(shape: Shape) -> str:
    """A shape as JSON has it."""
    return f"[{', '.join('null' if n is None else str(n) for n in shape)}]"
