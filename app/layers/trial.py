"""A layer tried out where tensors have shapes and no memory: what it makes of one row."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from app.errors import ConfigInvalid
from app.layers.kind import Shape
from app.layers.widths import listed

# Stand for a length that may be any: the shortest rows, which have to fit, too, and two more: where
# the output differs between these, it follows the input.
_LENGTHS = (1, 64, 96)


def tried_output(make: Callable[[], nn.Module], shape: Shape, *, pointer: str) -> Shape:
    """The shape that a layer makes of one row, found by running it on torch's meta device.

    Args:
        make: constructs the module, whose forward takes rows alone.
        shape: of one row; None: any length.
        pointer: where the layer stands in the config.

    Raises:
        ConfigInvalid: torch does not construct it so, or its forward takes no such rows.
    """
    try:
        with torch.device("meta"):
            module = make().eval()
            _, first, second = (_output(module, shape, length) for length in _LENGTHS)
    except (RuntimeError, ValueError, TypeError, NotImplementedError):
        raise ConfigInvalid(
            f"expected arguments that fit rows of shape {listed(shape)}, got some that do not: "
            "a size larger than the rows (null: also 1), or sizes that do not divide each other",
            pointer=pointer,
        ) from None
    return tuple(
        length if length == other else None for length, other in zip(first, second, strict=True)
    )


def _output(module: nn.Module, shape: Shape, free: int) -> torch.Size:
    """The shape of one row of output, where every length that may be any is `free`."""
    # Two rows, so that none is taken for a row without the dimension that counts them.
    sizes = (free if length is None else length for length in shape)
    output: Tensor = module(torch.empty(2, *sizes))
    return output.shape[1:]
