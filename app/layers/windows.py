"""Windows that slide over maps: what convolutions and pooling have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.errors import ConfigInvalid
from app.layers.arguments import Bound
from app.layers.kind import Shape
from app.wording import offered

_SIZES = range(1, 1025)
_MARGINS = range(1025)

# Of the arguments that torch calls so, one number for all dimensions or one for each.
WINDOW_BOUNDS: Mapping[str, Bound] = {
    "kernel_size": _SIZES,
    "stride": _SIZES,
    "dilation": _SIZES,
    "output_size": _SIZES,
    "padding": _MARGINS,
    "output_padding": _MARGINS,
}


def check_windows(arguments: Mapping[str, Any], dimensions: int, *, pointer: str) -> None:
    """Refuse a list of more or fewer sizes than there are dimensions to slide over.

    Torch takes some of them at construction, and fails at the first rows.

    Raises:
        ConfigInvalid: with the pointer of the list.
    """
    for name in WINDOW_BOUNDS:
        value = arguments.get(name)
        if isinstance(value, tuple) and len(value) != dimensions:
            raise ConfigInvalid(
                f"expected one number or {dimensions} of them, got {offered(value)}",
                pointer=f"{pointer}/{name}",
            )


def check_reach(arguments: Mapping[str, Any], shape: Shape, *, pointer: str) -> None:
    """Refuse windows that reach over the ends of the shortest rows.

    Args:
        arguments: of a convolution or a pool with a `kernel_size`.
        shape: of one row, whose first dimension counts channels; null: also 1.
        pointer: where the layer stands in the config.

    Raises:
        ConfigInvalid: with the pointer of `kernel_size`.
    """
    if arguments.get("padding") == "same":
        return
    lengths = [length or 1 for length in shape[1:]]
    margins = arguments.get("padding", 0)
    kernels, dilations, paddings = (
        each(value, len(lengths))
        for value in (
            arguments["kernel_size"],
            arguments.get("dilation", 1),
            0 if margins == "valid" else margins,
        )
    )
    for length, kernel, dilation, padding in zip(
        lengths, kernels, dilations, paddings, strict=True
    ):
        most = (length + 2 * padding - 1) // dilation + 1
        if kernel > most:
            raise ConfigInvalid(
                f"expected kernel_size of at most {most}, where {length} numbers with a padding of "
                f"{padding} on both sides are, got {kernel}",
                pointer=f"{pointer}/kernel_size",
            )


def each(value: int | tuple[int, ...], dimensions: int) -> tuple[int, ...]:
    """One size for each dimension, where one for all was given."""
    return value if isinstance(value, tuple) else (value,) * dimensions
