"""mosec with the layer behind its Rust front end; JSON and raw octets. Its own environment.

python serve.py WEIGHTS.npy PORT
"""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np
import torch
from mosec import Runtime, Server, Worker

_WEIGHTS = "PEER_WEIGHTS"
# A worker that gives up waiting for a batch after a millisecond, as a low-latency service would.
_BATCH, _WAIT_MS = 64, 1


class _Reducer(Worker):
    """One product for all requests of a batch; a kind of body says how to read and write it."""

    def __init__(self) -> None:
        super().__init__()
        torch.set_num_threads(1)
        self._matrix = torch.from_numpy(np.load(os.environ[_WEIGHTS])).T.contiguous()

    def forward(self, data: list[Any]) -> list[Any]:
        """Reduce, then give each request its rows back."""
        batch = [self.rows(one) for one in data]
        with torch.inference_mode():
            reduced = (torch.from_numpy(np.concatenate(batch)) @ self._matrix).numpy()
        ends = np.cumsum([len(rows) for rows in batch])[:-1]
        return [self.answer(rows) for rows in np.split(reduced, ends)]


class Json(_Reducer):
    """Lists of numbers, as its default codec reads and writes them."""

    def rows(self, request: Any) -> Any:
        """The rows of a request."""
        return np.array(request["hidden_states"], np.float32)

    def answer(self, rows: Any) -> Any:
        """What its codec can write."""
        return {"reduced": rows.tolist()}


class Octets(_Reducer):
    """The bytes of the array, nothing else."""

    def deserialize(self, data: bytes) -> Any:
        """The body as it is."""
        return data

    def serialize(self, data: Any) -> bytes:
        """The bytes of the array."""
        return data.tobytes()

    def rows(self, request: bytes) -> Any:
        """A view of the body."""
        return np.frombuffer(request, np.float32).reshape(-1, self._matrix.shape[0])

    def answer(self, rows: Any) -> Any:
        """The array as it is."""
        return rows


if __name__ == "__main__":
    os.environ[_WEIGHTS] = sys.argv[1]
    # mosec reads its own flags from the command line.
    sys.argv = [
        sys.argv[0],
        "--address",
        "127.0.0.1",
        "--port",
        sys.argv[2],
        "--log-level",
        "warning",
    ]
    server = Server()
    batching = {"max_batch_size": _BATCH, "max_wait_time": _WAIT_MS}
    server.register_runtime(
        {"/json": [Runtime(Json, **batching)], "/octets": [Runtime(Octets, **batching)]}
    )
    server.run()
