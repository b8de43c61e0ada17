"""Staging: memory of the host in which the rows of several requests come to lie together."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from app.types import FloatArray


class Staging:
    """Float32 memory that is used again and again; it grows by doubling and never shrinks.

    What it gives out is valid until it is asked again; one thread at a time may use it.

    Args:
        pinned: keep it where a device copies from and to without another stop.

    Attributes:
        num_rows: how many rows were copied here since the start.
    """

    def __init__(self, *, pinned: bool = False) -> None:
        self._pinned = pinned
        self.num_rows = 0
        self._forget()

    @property
    def capacity(self) -> int:
        """How many numbers it holds without growing."""
        return self._memory.numel()

    def room(self, height: int, width: int) -> Tensor:
        """A place for so many rows, with whatever lies there.

        Shape: returns `(height, width)`.
        """
        if self._rows.shape != (height, width):  # most requests are like the one before
            self._cut(height, width)
        return self._room

    def gather(self, parts: Sequence[FloatArray], height: int) -> Tensor:
        """The rows of all parts one below the other, zeros below them; each is copied once.

        Shape: parts `(rows, width)`; returns `(height, width)`.
        """
        room = self.room(height, parts[0].shape[1])
        rows, end = self._rows, 0
        for part in parts:
            begin, end = end, end + len(part)
            rows[begin:end] = part
        rows[end:] = 0.0
        self.num_rows += end
        return room

    def _cut(self, height: int, width: int) -> None:
        needed = height * width
        if needed > self.capacity:
            size = max(needed, 2 * self.capacity)
            self._forget()  # the old one goes before the new one comes
            self._memory = torch.empty(size, pin_memory=self._pinned)
        self._room = self._memory[:needed].view(height, width)
        self._rows: FloatArray = self._room.numpy()

    def _forget(self) -> None:
        self._memory = self._room = torch.empty(0)
        self._rows = self._room.numpy()
