"""Layers that give the numbers of a row another shape."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import Tensor, nn

from app.config import MAX_WIDTH
from app.errors import ConfigInvalid
from app.layers.arguments import WIDTHS, check_arguments
from app.layers.kind import KINDS, Declared, Shape
from app.layers.widths import known, listed


@KINDS.register("Flatten")
class FlattenKind:
    """Dimensions `start_dim` to `end_dim` become one; 1 is the first dimension of a row."""

    @staticmethod
    def declare(arguments: Mapping[str, Any], shape: Shape, *, pointer: str) -> Declared:
        """See `Kind.declare`."""
        rank = len(shape)
        dims = (*range(-rank, 0), *range(1, rank + 1))
        arguments = check_arguments(
            nn.Flatten, arguments, pointer=pointer, bounds={"start_dim": dims, "end_dim": dims}
        )
        begin = _position(arguments.get("start_dim", 1), rank)
        end = _position(arguments.get("end_dim", -1), rank)
        if begin > end:
            raise ConfigInvalid(
                f"expected start_dim to come before end_dim in {listed(shape)}, got dimensions "
                f"{begin} and {end}",
                pointer=f"{pointer}/start_dim",
            )
        lengths = [known(shape, d, "Flatten", pointer=pointer) for d in range(begin, end + 1)]
        _check_width(math.prod(lengths), f"{pointer}/type")
        return Declared(
            make=partial(nn.Flatten, **arguments),
            output=(*shape[:begin], math.prod(lengths), *shape[end + 1 :]),
        )


@KINDS.register("Unflatten")
class UnflattenKind:
    """Dimension `dim` becomes several, `unflattened_size`; 1 is the first dimension of a row."""

    @staticmethod
    def declare(arguments: Mapping[str, Any], shape: Shape, *, pointer: str) -> Declared:
        """See `Kind.declare`."""
        rank = len(shape)
        arguments = check_arguments(
            nn.Unflatten,
            arguments,
            pointer=pointer,
            bounds={
                "dim": (*range(-rank, 0), *range(1, rank + 1)),
                "unflattened_size": WIDTHS,
            },
        )
        position = _position(arguments["dim"], rank)
        length = known(shape, position, "Unflatten", pointer=pointer)
        sizes: tuple[int, ...] = arguments["unflattened_size"]
        if math.prod(sizes) != length:
            raise ConfigInvalid(
                f"expected sizes whose product is {length}, got {listed(sizes)}",
                pointer=f"{pointer}/unflattened_size",
            )
        return Declared(
            make=partial(nn.Unflatten, **arguments),
            output=(*shape[:position], *sizes, *shape[position + 1 :]),
        )


class Transpose(nn.Module):
    """Two dimensions in each other's place: `torch.transpose`, with memory of its own.

    Args:
        dim0: the one.
        dim1: the other.

    Shape: rows (rows, …); dimension 0 counts them and stays where it is.

    Example:
        >>> Transpose(1, 2)(Tensor(5, 2, 3)).shape
        torch.Size([5, 3, 2])
    """

    def __init__(self, dim0: int, dim1: int) -> None:
        super().__init__()
        self.dim0, self.dim1 = dim0, dim1

    def forward(self, rows: Tensor) -> Tensor:
        """Copied, because other strides sum in another order."""
        return rows.transpose(self.dim0, self.dim1).contiguous()

    def extra_repr(self) -> str:
        """What `repr` prints between the brackets."""
        return f"dim0={self.dim0}, dim1={self.dim1}"


@KINDS.register("Transpose")
class TransposeKind:
    """Dimensions `dim0` and `dim1` change places; between tokens and `Conv1d`."""

    @staticmethod
    def declare(arguments: Mapping[str, Any], shape: Shape, *, pointer: str) -> Declared:
        """See `Kind.declare`."""
        rank = len(shape)
        dims = (*range(-rank, 0), *range(1, rank + 1))
        arguments = check_arguments(
            Transpose, arguments, pointer=pointer, bounds={"dim0": dims, "dim1": dims}
        )
        places = [_position(arguments[name], rank) for name in ("dim0", "dim1")]
        output = list(shape)
        for place, other in zip(places, reversed(places), strict=True):
            output[place] = shape[other]
        return Declared(make=partial(Transpose, **arguments), output=tuple(output))


def _position(dim: int, rank: int) -> int:
    """Which dimension of a row torch's `dim` means; dimension 0 counts the rows."""
    return dim + rank if dim < 0 else dim - 1


def _check_width(width: int, pointer: str) -> None:
    if width > MAX_WIDTH:
        raise ConfigInvalid(
            f"expected a width of at most {MAX_WIDTH}, got {width}", pointer=pointer
        )
