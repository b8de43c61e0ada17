"""Rows in blocks as one tensor on a device, brought up to date block by block."""

from __future__ import annotations

import torch
from torch import Tensor

from app.codecs import BLOCK_ROWS
from app.training.observed.rows import Block, Rows


class Mirror:
    """One contiguous tensor that follows rows which change a little at a time.

    Args:
        device: where it is.
        capacity: most rows that it is asked for.
    """

    def __init__(self, device: torch.device, capacity: int) -> None:
        self._device = device
        self._most_blocks = -(-capacity // BLOCK_ROWS)
        self._held: list[Block | None] = []
        self._values = torch.empty(0, 0, device=device)

    def of(self, rows: Rows) -> Tensor:
        """The rows (count, width), always of one width, valid until the next call."""
        if len(self._held) < len(rows.blocks):
            self._grow(rows)
        for index, block in enumerate(rows.blocks):
            if self._held[index] is not block:
                first = index * BLOCK_ROWS
                self._values[first : first + len(block.rows)] = block.rows
                self._held[index] = block
        return self._values[: rows.count]

    def _grow(self, rows: Rows) -> None:
        # Twice as many as needed now, so that a reservoir that fills up is copied a few times only.
        blocks = min(2 * len(rows.blocks), self._most_blocks)
        self._held = [None] * blocks
        self._values = torch.empty(
            blocks * BLOCK_ROWS, rows.width, dtype=rows.dtype, device=self._device
        )
