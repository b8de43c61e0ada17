"""What the end-to-end tests say over HTTP, in binary."""

from __future__ import annotations

from typing import Any

import httpx
import numpy as np
from safetensors.numpy import load, save

from app.types import FloatArray

_SAFETENSORS = {"content-type": "application/x-safetensors"}


def reduce(client: httpx.Client, rows: FloatArray) -> tuple[FloatArray, int]:
    """The reduced rows and the version that made them."""
    response = client.post("/reduce", content=save({"hidden_states": rows}), headers=_SAFETENSORS)
    response.raise_for_status()
    return load(response.content)["reduced"], int(response.headers["model-version"])


def train(client: httpx.Client, loss: str | None = None, **arrays: FloatArray) -> dict[str, Any]:
    """One train step's answer."""
    response = client.post(
        "/train-step",
        content=save({name: np.ascontiguousarray(array) for name, array in arrays.items()}),
        params={"loss": loss} if loss else {},
        headers=_SAFETENSORS,
    )
    response.raise_for_status()
    answer: dict[str, Any] = response.json()
    return answer


def state(client: httpx.Client, model: str) -> dict[str, Any]:
    """Where the trainer stands."""
    response = client.get(f"/models/{model}/state")
    response.raise_for_status()
    found: dict[str, Any] = response.json()
    return found
