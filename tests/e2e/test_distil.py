"""The default recipe in a real server that is killed again and again."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import numpy as np

from app.types import FloatArray
from tests.e2e.process import ServerProcess
from tests.e2e.requests import state

WIDTH = 24
CONFIG = {
    "input_size": WIDTH,
    "layers": [{"type": "QRReduction", "n_components": 4}],
    "observed": {"reservoir": 100},
    "distil": {"warm_up": 150},
}
IN_WARM_UP, STEPS = 4, 22


def rows(seed: int) -> FloatArray:
    drawn = np.random.default_rng(seed).standard_normal((20, WIDTH))
    return (drawn * np.linspace(2, 0.1, WIDTH)).astype(np.float32)


def learn(server: ServerProcess, model: str, first: int, last: int) -> list[dict[str, Any]]:
    """The answers of these steps; four of five have positives."""
    answers = []
    for seed in range(first, last):
        batch = {"hidden_states": rows(seed).tolist()}
        if seed % 5:
            batch["positives"] = (rows(seed) + rows(seed + 99)).tolist()
        response = server.client.post(f"/models/{model}/train-step", json=batch)
        answers.append({**response.raise_for_status().json(), "model": ""})
    return answers


def go_back(server: ServerProcess, model: str) -> list[dict[str, Any]]:
    """To the version that the warm-up's checkpoint is, and on from there."""
    to = {"version": IN_WARM_UP + 1}
    server.client.post(f"/models/{model}/rollback", json=to).raise_for_status()
    return learn(server, model, 50, 53)


def test_a_model_that_is_killed_learns_bit_for_bit_what_an_unharmed_one_does(
    tmp_path: Path,
) -> None:
    """Killed in the warm-up, and behind a rollback from gradient steps to the warm-up."""
    with ServerProcess(tmp_path) as server:
        for model in ("unharmed", "killed"):
            server.client.put(f"/models/{model}", json=CONFIG).raise_for_status()
        wanted = learn(server, "unharmed", 0, IN_WARM_UP)
        found = learn(server, "killed", 0, IN_WARM_UP)
        for model in ("unharmed", "killed"):
            server.client.post(f"/models/{model}/versions").raise_for_status()
        wanted += learn(server, "unharmed", IN_WARM_UP, STEPS) + go_back(server, "unharmed")
        digest = state(server.client, "unharmed")["state_digest"]
        assert server.stop(signal.SIGKILL) == -signal.SIGKILL
    with ServerProcess(tmp_path) as server:
        found += learn(server, "killed", IN_WARM_UP, STEPS) + go_back(server, "killed")
        assert server.stop(signal.SIGKILL) == -signal.SIGKILL
    with ServerProcess(tmp_path) as server:
        stands = [state(server.client, model) for model in ("unharmed", "killed")]
    assert [(s["state_digest"], s["is_divergent"]) for s in stands] == [(digest, False)] * 2
    assert found == wanted
    assert {answer["update"] for answer in found[IN_WARM_UP:STEPS]} == {"moment", "gradient"}
