"""Attention as a kind of layer: how it is declared, and how many rows go through it at once.

Note [Every token with every other]
Attention may hold a number for each head and each pair of tokens, so that a long row costs far more
than its bytes let expect. Serving takes as many rows at once as have room; a step, whose numbers
are all needed for its gradient, is refused beyond that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from math import isqrt
from typing import Any

import torch
from torch import Tensor, nn

from app.errors import ConfigInvalid, TooLarge, Unacceptable
from app.layers.arguments import BATCH_FIRST, check_arguments
from app.layers.kind import Context, Declared, Shape
from app.layers.masks import tokens_that_count
from app.layers.widths import check_rank, last

# A gibibyte in float32; see Note [Every token with every other].
_MOST_PAIRS = 1 << 28
_PAIRS_AT_ONCE = 1 << 24


class Attending:
    """A layer with attention, which gives the shape that it gets.

    Args:
        layer: the class.
        width: its name of the width of a token.
        heads: its name of the number of heads.
        doc: what it computes, in one line.
    """

    def __init__(self, layer: type[nn.Module], width: str, heads: str, doc: str) -> None:
        self.__doc__ = doc
        self._layer = layer
        self._width = width
        self._heads = heads

    def declare(self, arguments: Mapping[str, Any], shape: Shape, *, pointer: str) -> Declared:
        """See `Kind.declare`."""
        name = self._layer.__name__
        check_rank(shape, (2,), name, pointer=pointer)
        width = last(shape, name, pointer=pointer)
        arguments = check_arguments(
            self._layer, arguments, pointer=pointer, derived={self._width: width}, hints=BATCH_FIRST
        )
        arguments.pop("batch_first", None)  # it always is
        heads = arguments[self._heads]
        if width % heads:
            raise ConfigInvalid(
                f"expected {self._heads} to divide the width of a token, {width}, got {heads}",
                pointer=f"{pointer}/{self._heads}",
            )
        return Declared(
            make=partial(self._layer, **arguments),
            output=shape,
            takes_context=True,
            uses_mask=True,
            widest=(shape[0] or 1) * _widest(arguments, width),
            multiply_adds=(shape[0] or 1) * width * 4 * _widest(arguments, width),
        )


def _widest(arguments: Mapping[str, Any], width: int) -> int:
    """How many numbers of one token the layer holds at once: queries, keys and values, or more."""
    return max(3 * width, int(arguments.get("dim_feedforward", 0)))


def in_pieces(
    layer: nn.Module,
    heads: int,
    rows: Tensor,
    context: Context,
    compute: Callable[[Tensor, Tensor | None], Tensor],
) -> Tensor:
    """What a layer makes of rows, as many at once as there is room for.

    Args:
        layer: whether it trains is looked at.
        heads: of its attention.
        rows: (rows, length, width).
        context: of the request.
        compute: takes rows and torch's padding mask, True for a token that is not seen.

    Raises:
        Unacceptable: `out_of_range`: the rows are too long.
        TooLarge: `too_many_rows` of this length for one step.
    """
    mask = tokens_that_count(rows, context)
    hidden = None if mask is None else ~mask
    pairs = heads * rows.shape[1] ** 2
    if pairs > _MOST_PAIRS:
        raise Unacceptable(
            "out_of_range",
            f"expected rows of at most {isqrt(_MOST_PAIRS // heads)} tokens for attention with "
            f"{heads} heads, got {rows.shape[1]}; cut them",
            pointer="/hidden_states",
        )
    if layer.training and len(rows) * pairs > _MOST_PAIRS:
        raise TooLarge(
            "too_many_rows",
            f"expected at most {_MOST_PAIRS // pairs} rows of {rows.shape[1]} tokens for attention "
            f"with {heads} heads, got {len(rows)}; send smaller batches",
            pointer="/hidden_states",
        )
    step = max(1, _PAIRS_AT_ONCE // pairs)
    if layer.training or len(rows) <= step:
        return compute(rows, hidden)
    pieces = range(0, len(rows), step)
    return torch.cat(
        [
            compute(rows[at : at + step], None if hidden is None else hidden[at : at + step])
            for at in pieces
        ]
    )
