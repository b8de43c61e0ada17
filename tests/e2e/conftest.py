"""The sample of real embeddings, and throw-away copies of the model repository."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from app.types import FloatArray

ROOT = Path(__file__).parents[2]
DEMO = "minilm-384-to-96"


@pytest.fixture(scope="session")
def held_out() -> FloatArray:
    """1,000 embeddings that no model here was trained on, (1000, 384)."""
    return unit_rows(np.load(ROOT / "examples/data/held_out.npy"))


@pytest.fixture(scope="session")
def stream() -> FloatArray:
    """288 embeddings to train on, (288, 384)."""
    return unit_rows(np.load(ROOT / "examples/data/stream.npy"))


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    """A copy of the repository's models, so that a clone stays clean after any training."""
    target = tmp_path / "models"
    version = Path(DEMO) / "1"
    shutil.copytree(ROOT / "models" / version, target / version)
    return target


def unit_rows(rows: FloatArray) -> FloatArray:
    """Rows of length one, in float32."""
    rows = rows.astype(np.float32)
    unit: FloatArray = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit
