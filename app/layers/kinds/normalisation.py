"""Layers that bring numbers to mean 0 or length 1, over a row or over the batch."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import Tensor, nn

from app.errors import ConfigInvalid, Unacceptable
from app.layers.arguments import EPSILONS, SHARES, WIDTHS, Bound, check_arguments
from app.layers.kind import KINDS, Declared, Shape
from app.layers.widths import check_rank, known, last, listed


class _BatchStatistics(nn.Module):
    """Refuses what has no variance, in our words."""

    def forward(self, rows: Tensor) -> Tensor:
        """Normalise; in training with the batch's statistics, which the running ones follow."""
        if self.training and rows.numel() == rows.shape[1]:
            raise Unacceptable(
                "too_few_rows",
                "a model with BatchNorm learns from the variance within a batch: expected at "
                "least 2 rows, got 1; send more rows in one step",
                pointer="/hidden_states",
            )
        normalised: Tensor = super().forward(rows)
        return normalised


class BatchNorm1d(_BatchStatistics, nn.BatchNorm1d):
    """Torch's, with a refusal of ours."""


class BatchNorm2d(_BatchStatistics, nn.BatchNorm2d):
    """Torch's, with a refusal of ours."""


class BatchNorm:
    """Normalises each feature or channel over the batch.

    Args:
        layer: the class.
        ranks: how many dimensions a row may have.
        doc: what it computes, in one line.
    """

    def __init__(self, layer: type[nn.Module], ranks: tuple[int, ...], doc: str) -> None:
        self.__doc__ = doc
        self._layer = layer
        self._ranks = ranks

    def declare(self, arguments: Mapping[str, Any], shape: Shape, *, pointer: str) -> Declared:
        """See `Kind.declare`; the first dimension of a row counts the features."""
        name = self._layer.__name__
        check_rank(shape, self._ranks, name, pointer=pointer)
        arguments = check_arguments(
            self._layer.__mro__[2],
            arguments,
            pointer=pointer,
            derived={"num_features": known(shape, 0, name, pointer=pointer)},
            # Without running statistics a vector would depend on the requests beside it.
            bounds={"eps": EPSILONS, "momentum": SHARES, "track_running_stats": (True,)},
        )
        return Declared(make=partial(self._layer, **arguments), output=shape, centres=True)


KINDS.register("BatchNorm1d")(
    BatchNorm(
        BatchNorm1d,
        (1, 2),
        "`(x - mean) / √(var + eps) · w + b` of each feature; running statistics in serving.",
    )
)
KINDS.register("BatchNorm2d")(
    BatchNorm(
        BatchNorm2d,
        (3,),
        "The same of each channel of a map (channels, height, width).",
    )
)


class RowNorm:
    """Normalises the last dimensions of each row.

    Args:
        layer: torch's class.
        doc: what it computes, in one line.
    """

    def __init__(self, layer: type[nn.Module], doc: str) -> None:
        self.__doc__ = doc
        self._layer = layer

    def declare(self, arguments: Mapping[str, Any], shape: Shape, *, pointer: str) -> Declared:
        """See `Kind.declare`; `normalized_shape` is the last dimension by default."""
        name = self._layer.__name__
        width = last(shape, name, pointer=pointer)
        bounds: dict[str, Bound] = {"eps": EPSILONS, "normalized_shape": WIDTHS}
        arguments = check_arguments(
            self._layer,
            {"normalized_shape": width, **arguments},
            pointer=pointer,
            bounds=bounds,
        )
        wanted = _dimensions(arguments["normalized_shape"])
        if wanted != shape[len(shape) - len(wanted) :]:
            raise ConfigInvalid(
                f"expected normalized_shape to be the last dimensions of {listed(shape)}, got "
                f"{listed(wanted)}; leave it out for the last one",
                pointer=f"{pointer}/normalized_shape",
            )
        return Declared(make=partial(self._layer, **arguments), output=shape)


KINDS.register("LayerNorm")(
    RowNorm(nn.LayerNorm, "`(x - mean) / √(var + eps) · w + b` over the last dimension of a row.")
)
KINDS.register("RMSNorm")(
    RowNorm(nn.RMSNorm, "`x / √(mean(x²) + eps) · w` over the last dimension of a row.")
)


@KINDS.register("GroupNorm")
class GroupNormKind:
    """`(x - mean) / √(var + eps) · w + b` over groups of a row's channels."""

    @staticmethod
    def declare(arguments: Mapping[str, Any], shape: Shape, *, pointer: str) -> Declared:
        """See `Kind.declare`."""
        channels = known(shape, 0, "GroupNorm", pointer=pointer)
        arguments = check_arguments(
            nn.GroupNorm,
            arguments,
            pointer=pointer,
            derived={"num_channels": channels},
            bounds={"eps": EPSILONS, "num_groups": range(1, channels + 1)},
        )
        if channels % arguments["num_groups"]:
            raise ConfigInvalid(
                f"expected num_groups to divide the {channels} channels, got "
                f"{arguments['num_groups']}",
                pointer=f"{pointer}/num_groups",
            )
        return Declared(make=partial(nn.GroupNorm, **arguments), output=shape)


def _dimensions(normalized_shape: int | tuple[int, ...]) -> tuple[int, ...]:
    return (normalized_shape,) if isinstance(normalized_shape, int) else normalized_shape
