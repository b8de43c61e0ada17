"""Token pooling: one vector of many."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from app.layers.arguments import check_arguments
from app.layers.kind import KINDS, NO_CONTEXT, Context, Declared, Shape
from app.layers.masks import first_of, last_of, tokens_that_count
from app.layers.widths import check_rank

_Mode: TypeAlias = Literal["mean", "cls", "last", "max"]


class TokenPooling(nn.Module):
    """One vector of the tokens that count: their mean, their maximum, the first or the last.

    With `m` the mask: `mean = Σ mᵢ xᵢ / Σ mᵢ`; `max` is taken component by component; `cls` is the
    first token that counts and `last` the last one, wherever the row was padded. Without a mask
    every token counts. What stands at a token that does not count is never looked at.

    Args:
        mode: which of them.

    Shape: rows (rows, length, width); returns (rows, width).

    Source: sentence-transformers 5.1.1, the description of `models.Pooling`, for the modes.

    Example:
        >>> rows, mask = torch.tensor([[[1.0], [3.0], [9.0]]]), torch.tensor([[True, True, False]])
        >>> TokenPooling("mean")(rows, Context(mask=mask))
        tensor([[2.]])
    """

    def __init__(self, mode: _Mode = "mean") -> None:
        super().__init__()
        self.mode = mode

    def forward(self, rows: Tensor, context: Context = NO_CONTEXT) -> Tensor:
        """Pool each row."""
        mask = tokens_that_count(rows, context)
        if mask is None:
            mask = rows.new_ones(rows.shape[:2], dtype=torch.bool)
        match self.mode:
            case "mean":
                summed = rows.masked_fill(~mask[..., None], 0).sum(dim=1)
                return summed / mask.sum(dim=1, keepdim=True)
            case "max":
                return rows.masked_fill(~mask[..., None], -torch.inf).amax(dim=1)
            case "cls":
                place = first_of(mask)
            case "last":
                place = last_of(mask)
        return rows[torch.arange(len(rows), device=rows.device), place]

    def extra_repr(self) -> str:
        """What `repr` prints between the brackets."""
        return f"mode={self.mode}"


@KINDS.register("TokenPooling")
class TokenPoolingKind:
    """One vector of the tokens that count; `mode`: "mean", "cls", "last" or "max"."""

    @staticmethod
    def declare(arguments: Mapping[str, Any], shape: Shape, *, pointer: str) -> Declared:
        """See `Kind.declare`."""
        check_rank(shape, (2,), "TokenPooling", pointer=pointer)
        arguments = check_arguments(TokenPooling, arguments, pointer=pointer)
        return Declared(
            make=partial(TokenPooling, **arguments),
            output=shape[1:],
            takes_context=True,
            uses_mask=True,
        )
