"""Models with constrained weights and drawn samples: trained, checkpointed, recovered, served."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests.contract.wire import reduced_of, some_rows
from tests.server import RunningServer, create, declare, serving

BATCH = {"hidden_states": some_rows(16, 8).tolist()}
CONSTRAINED: dict[str, Any] = {
    "random": {"type": "sparse", "density": 0.25},
    "magnitude": {"type": "sparse", "density": 0.25, "mask": "magnitude"},
    "given": {"type": "sparse", "mask": np.eye(3, 8).astype(int).tolist()},
    "unit": "unit_norm",
    "thin": {"type": "low_rank", "rank": 2},
    "qr": "qr",
    "orthogonal": "orthogonal",
}
MODELS: dict[str, Any] = {
    name: declare(8, 3, layer={"parametrization": declared, "init": {"type": "normal", "std": 0.2}})
    for name, declared in CONSTRAINED.items()
} | {
    "gaussian": {
        "input_size": 8,
        "layers": [{"type": "Gaussian", "n_components": 3, "kl_warm_up": 4}],
        "recipe": "plain",
    }
}


def learn(server: RunningServer, steps: int) -> None:
    for name in MODELS:
        for _ in range(steps):
            server.http.post(f"/models/{name}/train-step", json=BATCH).raise_for_status()


def seen(server: RunningServer) -> dict[str, Any]:
    """What each model makes of some rows, and the digest of all that it learned."""
    return {
        name: (
            reduced_of(server.http.post(f"/models/{name}/reduce", json=BATCH)).tolist(),
            server.http.get(f"/models/{name}/state").json()["state_digest"],
        )
        for name in MODELS
    }


def test_what_was_learned_is_there_again_after_a_restart(tmp_path: Path) -> None:
    with serving(tmp_path) as first:
        for name, config in MODELS.items():
            create(first, name, config)
        learn(first, 3)
        before = seen(first)
        for name in MODELS:
            first.http.post(f"/models/{name}/versions").raise_for_status()
    with serving(tmp_path) as second:
        assert seen(second) == before
        learn(second, 2)
        after = seen(second)
    assert all(after[name] != before[name] for name in MODELS)
    with serving(tmp_path) as third:
        assert seen(third) == after


def test_serving_a_gaussian_is_the_same_every_time(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        create(server, "gaussian", MODELS["gaussian"])
        answers = [
            reduced_of(server.http.post("/models/gaussian/reduce", json=BATCH)).tolist()
            for _ in range(2)
        ]
    assert answers[0] == answers[1]
