"""Masks: which tokens of a row count.

Every row has a token that counts: the service refuses others, for which a mean or an attention is
nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor

from app.errors import Unacceptable
from app.layers.kind import Context


def tokens_that_count(rows: Tensor, context: Context) -> Tensor | None:
    """The mask of the request, checked against what a layer really gets.

    Shape: rows (rows, length, …); returns (rows, length) bool, or None: every token counts.

    Raises:
        Unacceptable: `mask_invalid`: the layers before have changed the number of tokens.
    """
    mask = context.mask
    if mask is not None and mask.shape != rows.shape[:2]:
        raise Unacceptable(
            "mask_invalid",
            f"expected no mask: the layers of this model make {rows.shape[1]} tokens of the "
            f"{mask.shape[1]} that it covers, before it is used; leave it out",
            pointer="/mask",
        )
    return mask


def first_of(mask: Tensor) -> Tensor:
    """The place of the first token of each row that counts.

    Shape: mask (rows, length) bool; returns (rows,) int64.
    """
    return mask.to(torch.uint8).argmax(dim=1)


def last_of(mask: Tensor) -> Tensor:
    """The place of the last token of each row that counts.

    Shape: mask (rows, length) bool; returns (rows,) int64.
    """
    return mask.shape[1] - 1 - first_of(mask.flip(1))


def lengths_of(mask: Tensor) -> Tensor:
    """How many tokens of each row count, where those come first.

    Shape: mask (rows, length) bool; returns (rows,) int64, at least 1.

    Raises:
        Unacceptable: `mask_invalid`: a token counts behind one that does not.
    """
    if bool((mask[:, 1:] & ~mask[:, :-1]).any()):
        raise Unacceptable(
            "mask_invalid",
            "expected the tokens that count at the beginning of each row, got one behind a token "
            "that does not: recurrent layers read in order; pad at the end",
            pointer="/mask",
        )
    return mask.sum(dim=1).clamp(min=1)
