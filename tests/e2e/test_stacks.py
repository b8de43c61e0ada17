"""A stack with running statistics, dropout and branches, killed in the middle of its training."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np

from app.types import FloatArray
from tests.e2e.process import ServerProcess
from tests.e2e.requests import reduce, state, train

STACK = "stack"
CONFIG = {
    "input_size": 384,
    "recipe": "plain",
    "layers": [
        {"type": "Linear", "out_features": 32, "bias": False},
        {"type": "BatchNorm1d"},
        {"type": "Dropout", "p": 0.5},
        {
            "type": "ModuleDict",
            "branches": {
                "zeta": [{"type": "Linear", "out_features": 8}],
                "alpha": [{"type": "Residual", "layers": [{"type": "GELU"}]},
                          {"type": "Linear", "out_features": 8}],
            },
        },
    ],
}  # fmt: skip


def test_a_killed_stack_comes_back_with_the_bits_it_had(tmp_path: Path, stream: FloatArray) -> None:
    flags = ("--default-model", STACK)
    with ServerProcess(tmp_path, *flags) as server:
        server.client.put(f"/models/{STACK}", json=CONFIG).raise_for_status()
        for begin in range(0, 64, 16):
            train(server.client, hidden_states=stream[begin : begin + 16])
        body = {"hidden_states": stream[:16].tolist(), "branch": "alpha"}
        server.client.post("/train-step", json=body).raise_for_status()
        stood, (reduced, version) = state(server.client, STACK), reduce(server.client, stream)
        assert server.stop(signal.SIGKILL) == -signal.SIGKILL
    with ServerProcess(tmp_path, *flags) as server:
        assert state(server.client, STACK) == stood
        again, same = reduce(server.client, stream)
    assert (version, same) == (6, 6)
    np.testing.assert_array_equal(again, reduced)
