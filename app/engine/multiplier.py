"""Multipliers: rows of requests to the device, through a snapshot's layer, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from app.engine.snapshot import Snapshot
from app.engine.staging import Staging
from app.engine.tiling import Tiling
from app.types import FloatArray


class Multiplier(Protocol):
    """What makes one product of the rows of several requests; one thread at a time uses it."""

    def multiply(self, snapshot: Snapshot, parts: Sequence[FloatArray]) -> FloatArray:
        """Reduce all rows.

        Shape: parts `(rows, input_size)` each, together at most `snapshot.tiling.most` where there
            are several; returns `(all rows, n_components)` in memory of its own.
        """


class HostMultiplier:
    """Multiplies what lies in the host's memory.

    Copies of the input: none for one part of a height that the tiling has; otherwise one, into
    memory that is kept. A part that does not lie as the tiling wants it is copied, too.

    Attributes:
        staging: where rows are copied to.
    """

    def __init__(self) -> None:
        self.staging = Staging()

    def multiply(self, snapshot: Snapshot, parts: Sequence[FloatArray]) -> FloatArray:
        """See `Multiplier.multiply`."""
        rows = parts[0]
        if len(parts) > 1 or len(rows) <= snapshot.tiling.most:
            return self._whole(snapshot, parts)
        cuts = snapshot.tiling.cuts(len(rows))
        return np.concatenate([self._whole(snapshot, (rows[cut],)) for cut in cuts])

    def _whole(self, snapshot: Snapshot, parts: Sequence[FloatArray]) -> FloatArray:
        count = len(parts[0]) if len(parts) == 1 else sum(map(len, parts))
        tiling = snapshot.tiling
        height = tiling.height(count)
        reduced = snapshot.multiply(self._rows(parts, height, tiling))
        array: FloatArray = reduced.numpy()
        return array if height == count else array[:count]

    def _rows(self, parts: Sequence[FloatArray], height: int, tiling: Tiling) -> Tensor:
        if len(parts) == 1 and len(parts[0]) == height:
            rows = torch.from_numpy(parts[0])
            if rows.data_ptr() % tiling.alignment == 0:
                return rows
        return self.staging.gather(parts, height)
