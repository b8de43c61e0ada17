"""Rows, snapshots and multipliers for the tests of the engine."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from app.config import parse_config
from app.engine.multiplier import HostMultiplier
from app.engine.snapshot import Snapshot
from app.engine.tiling import FREE, Tiling
from app.types import FloatArray

WIDTH = 48


def random_rows(count: int, width: int = WIDTH, *, seed: int = 0) -> FloatArray:
    return np.random.default_rng(seed).standard_normal((count, width)).astype(np.float32)


def make_snapshot(
    *,
    version: int = 1,
    width: int = WIDTH,
    n_components: int = 8,
    dtype: torch.dtype = torch.float32,
    tiling: Tiling = FREE,
) -> Snapshot:
    """A layer with random weights of its own for each version."""
    layer = {"type": "QRReduction", "n_components": n_components}
    config = parse_config({"input_size": width, "layers": [layer]})
    weights = {"Q_reduced": torch.from_numpy(random_rows(n_components, width, seed=version))}
    return Snapshot("m", version, 0, config, weights, dtype, tiling)


def exact(snapshot: Snapshot, rows: FloatArray) -> FloatArray:
    product: FloatArray = rows @ snapshot.tensors["Q_reduced"].numpy().T
    return product


class CountingMultiplier(HostMultiplier):
    """Multiplies, and remembers how many rows each product had."""

    def __init__(self) -> None:
        super().__init__()
        self.products: list[tuple[int, ...]] = []

    def multiply(self, snapshot: Snapshot, parts: Sequence[FloatArray]) -> FloatArray:
        self.products.append(tuple(map(len, parts)))
        return super().multiply(snapshot, parts)


class StarvedMultiplier(CountingMultiplier):
    """Finds memory for so many rows at once, and no more: torch's own error says so."""

    def __init__(self, most_rows: int) -> None:
        super().__init__()
        self.most_rows = most_rows

    def multiply(self, snapshot: Snapshot, parts: Sequence[FloatArray]) -> FloatArray:
        reduced = super().multiply(snapshot, parts)
        if sum(map(len, parts)) > self.most_rows:
            torch.empty(1 << 50)
        return reduced
