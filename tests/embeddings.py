"""Made-up embeddings: an anisotropic mixture of Gaussians, in pairs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

WIDTH = 48
_CLUSTERS = 60
# Most of the variance lies in a few directions that say little about who is near to whom.
_WIDE, _LOUD = 6, 1.0


def pairs(count: int, *, seed: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Queries and their documents, (count, WIDTH) each, unit vectors."""
    world, draw = np.random.default_rng(0), np.random.default_rng(seed)
    centres = world.normal(size=(_CLUSTERS, WIDTH)) * np.geomspace(1, 0.3, WIDTH)
    common = np.full(WIDTH, 0.4)
    topics = centres[draw.integers(_CLUSTERS, size=count)]
    topics = topics + 0.6 * draw.normal(size=(count, WIDTH)) * np.geomspace(1, 0.3, WIDTH)
    return _seen(topics, common, draw), _seen(topics, common, draw)


def write(folder: Path, *, train: int, test: int) -> Path:
    """Files as `make quality` reads them, in float16."""
    for place, (split, count) in enumerate({"train": train, "val": 50, "test": test}.items()):
        for side, rows in zip("qd", pairs(count, seed=place), strict=True):
            np.save(folder / f"{split}_{side}.npy", rows.astype(np.float16))
    return folder


def _seen(
    topics: NDArray[np.float64], common: NDArray[np.float64], draw: np.random.Generator
) -> NDArray[np.float32]:
    noise = 0.3 * draw.normal(size=topics.shape)
    noise[:, :_WIDE] += _LOUD * draw.normal(size=(len(topics), _WIDE))
    rows = topics + common + noise
    unit: NDArray[np.float32]
    unit = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return unit
