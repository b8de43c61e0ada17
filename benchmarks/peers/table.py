"""The peers, as a table: how each is asked, and what its answer means."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import orjson
from safetensors.numpy import load

from app.types import FloatArray
from benchmarks.contenders import OURS, Call
from benchmarks.work import INPUT_SIZE, JSON, N_COMPONENTS, SAFETENSORS, batch, encode

OCTETS = "application/octet-stream"
_INFER = "/v2/models/reducer/infer"


@dataclass(frozen=True, slots=True)
class Dialect:
    """One way to ask for a product.

    Attributes:
        call: rows → the request.
        read: body of the answer, rows → what it says.
    """

    call: Callable[[FloatArray], Call]
    read: Callable[[bytes, int], FloatArray]


def _json(path: str) -> Callable[[FloatArray], Call]:
    return lambda rows: Call(path, JSON, encode({"hidden_states": rows}, JSON))


def _tensor(rows: FloatArray) -> dict[str, object]:
    return {"name": "hidden_states", "shape": rows.shape, "datatype": "FP32"}


def _inference_json(rows: FloatArray) -> Call:
    tensor = {**_tensor(rows), "data": rows.ravel().tolist()}
    return Call(_INFER, JSON, json.dumps({"inputs": [tensor]}).encode())


def _inference_binary(rows: FloatArray) -> Call:
    tensor = {**_tensor(rows), "parameters": {"binary_data_size": rows.nbytes}}
    parameters = {"binary_data_output": True}
    head = json.dumps({"inputs": [tensor], "parameters": parameters}).encode()
    length = ("Inference-Header-Content-Length", str(len(head)))
    return Call(_INFER, OCTETS, head + rows.tobytes(), (length,))


def _read_reduced(body: bytes, rows: int) -> FloatArray:
    return np.array(orjson.loads(body)["reduced"], np.float32).reshape(rows, N_COMPONENTS)


def _read_outputs(body: bytes, rows: int) -> FloatArray:
    data = orjson.loads(body)["outputs"][0]["data"]
    return np.array(data, np.float32).reshape(rows, N_COMPONENTS)


def _read_end(body: bytes, rows: int) -> FloatArray:
    """The last bytes are the array: alone, or behind the JSON part."""
    num_bytes = rows * N_COMPONENTS * 4
    return np.frombuffer(body[-num_bytes:], np.float32).reshape(rows, N_COMPONENTS)


def _read_safetensors(body: bytes, rows: int) -> FloatArray:
    reduced: FloatArray = load(body)["reduced"]
    return reduced.reshape(rows, N_COMPONENTS)


_BINARY = Dialect(_inference_binary, _read_end)

# By body and server; a server that does not read a kind of body has no entry for it.
DIALECTS: Mapping[str, Mapping[str, Dialect]] = {
    "JSON": {
        OURS: Dialect(_json("/reduce"), _read_reduced),
        "mlserver": Dialect(_inference_json, _read_outputs),
        "pytriton": Dialect(_inference_json, _read_outputs),
        "mosec": Dialect(_json("/json"), _read_reduced),
    },
    "octets": {
        OURS: Dialect(
            lambda rows: Call("/reduce", SAFETENSORS, encode({"hidden_states": rows}, SAFETENSORS)),
            _read_safetensors,
        ),
        "mosec": Dialect(lambda rows: Call("/octets", OCTETS, rows.tobytes()), _read_end),
    },
    "inference binary": {OURS: _BINARY, "pytriton": _BINARY},
}
PEERS = ("mlserver", "mosec", "pytriton")


@dataclass(frozen=True, slots=True)
class Meeting:
    """One kind of request, to everyone who reads it.

    Attributes:
        body: a key of `DIALECTS`.
        rows: of the batch.
        connections: at once.
    """

    body: str
    rows: int
    connections: int

    @property
    def name(self) -> str:
        """What `--only` matches, for example `JSON-32-c8`."""
        return f"{self.body.replace(' ', '-')}-{self.rows}-c{self.connections}"

    @property
    def hidden_states(self) -> FloatArray:
        """The rows that everyone gets, shape (rows, INPUT_SIZE)."""
        rows = batch(self.rows, with_targets=False)["hidden_states"]
        assert rows.shape == (self.rows, INPUT_SIZE)
        return rows


MEETINGS = (
    Meeting("JSON", 1, 1),
    Meeting("JSON", 1, 64),
    Meeting("JSON", 32, 8),
    Meeting("JSON", 32, 64),
    Meeting("JSON", 256, 8),
    Meeting("octets", 1, 1),
    Meeting("octets", 1, 64),
    Meeting("octets", 32, 8),
    Meeting("octets", 256, 8),
    Meeting("inference binary", 1, 64),
    Meeting("inference binary", 32, 8),
    Meeting("inference binary", 256, 8),
)
