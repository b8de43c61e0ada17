"""The work that everyone gets: one layer, 768 → 128 in float32, and batches for it."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
from safetensors.numpy import save

from app.types import FloatArray

INPUT_SIZE = 768
N_COMPONENTS = 128
LEARNING_RATE = 1e-3
FUSED = True

JSON = "application/json"
SAFETENSORS = "application/x-safetensors"


def weights() -> FloatArray:
    """`Q_reduced`, shape (N_COMPONENTS, INPUT_SIZE): normal, so that outputs are of order 1."""
    scale = INPUT_SIZE**-0.5
    return _normal(N_COMPONENTS, INPUT_SIZE, seed=0) * np.float32(scale)


def batch(rows: int, *, with_targets: bool) -> dict[str, FloatArray]:
    """The arrays of one request, by the names of its fields; the same ones every time."""
    arrays = {"hidden_states": _normal(rows, INPUT_SIZE, seed=rows)}
    if with_targets:
        arrays["targets"] = _normal(rows, N_COMPONENTS, seed=rows + 1)
    return arrays


def encode(arrays: Mapping[str, FloatArray], media_type: str) -> bytes:
    """A request's body; JSON has the 17 digits that `tolist` and `json.dumps` send."""
    if media_type == SAFETENSORS:
        return save(dict(arrays))
    return json.dumps({name: array.tolist() for name, array in arrays.items()}).encode()


def model_config() -> dict[str, object]:
    """The same layer, loss and optimizer as a Slimvec model."""
    return {
        "input_size": INPUT_SIZE,
        "layers": [{"type": "QRReduction", "n_components": N_COMPONENTS}],
        "loss": {"type": "mse"},
        "optimizer": {"type": "Adam", "lr": LEARNING_RATE, "fused": FUSED},
        "recipe": "plain",
    }


def _normal(*shape: int, seed: int) -> FloatArray:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
