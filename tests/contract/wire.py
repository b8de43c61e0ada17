"""A client of the contract that shares no code with the server: numpy's and safetensors' own."""

from __future__ import annotations

import base64
import io
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, load_file, save

from tests.server import RunningServer

JSON = "application/json"
NPY = "application/x-npy"
SAFETENSORS = "application/x-safetensors"

Array = NDArray[Any]


def as_base64(array: Array) -> dict[str, Any]:
    return {
        "shape": list(array.shape),
        "dtype": array.dtype.name,
        "data": base64.b64encode(array.tobytes()).decode(),
    }


def from_base64(fields: dict[str, Any]) -> Array:
    octets = base64.b64decode(fields["data"], validate=True)
    return np.frombuffer(octets, fields["dtype"]).reshape(fields["shape"])


def as_npy(array: Array) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def encode(array: Array, form: str) -> dict[str, Any]:
    """The keyword arguments of a request that carries hidden_states in a form."""
    if form == "nested":
        return {"json": {"hidden_states": array.tolist()}}
    if form == "base64":
        return {"json": {"hidden_states": as_base64(array)}}
    content = as_npy(array) if form == NPY else save({"hidden_states": array})
    return {"content": content, "headers": {"content-type": form}}


def reduced_of(answer: httpx.Response) -> Array:
    """The reduced vectors of an answer, whatever its media type."""
    assert answer.status_code == 200, answer.text
    media_type = answer.headers["content-type"]
    if media_type == NPY:
        array: Array = np.load(io.BytesIO(answer.content))
    elif media_type == SAFETENSORS:
        array = load(answer.content)["reduced"]
    else:
        body = answer.json()
        is_base64 = isinstance(body["reduced"], dict)
        numbers = body["reduced"]
        array = from_base64(numbers) if is_base64 else np.array(numbers, np.float32)
        assert list(array.shape) == body["shape"]
    return array


def weights(server: RunningServer, model: str, version: int = 1) -> Array:
    """The serving matrix of a version, as it is on disk."""
    folder = server.models_dir / model / str(version)
    matrix: Array = load_file(folder / "model.safetensors")["Q_reduced"]
    return matrix


def some_rows(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(7).standard_normal(shape, np.float32)
