"""A gate that is closed when the server is killed: the same version is live, with the same bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
from httpx import Client

from tests.checks.gate import (
    CALM,
    CALM_STEPS,
    DOCUMENT,
    MOST_STEPS,
    WIDTH,
    WILD,
    WILD_STEPS,
    stream_step,
)
from tests.crash.processes import ForkServer, Served
from tests.e2e.requests import reduce, state, train

MODEL = "gated"
FLAGS = ("--default-model", MODEL, "--device", "cpu")
Told: TypeAlias = tuple[Any, ...]


def client_of(served: Served) -> Client:
    host, port = served.ready()
    return Client(base_url=f"http://{host}:{port}", timeout=30)


def learn(client: Client, rate: float, steps: int) -> None:
    client.patch(f"/models/{MODEL}", json={"lr": rate}).raise_for_status()
    first = state(client, MODEL)["version"]
    for number in range(first, first + steps):
        train(client, hidden_states=stream_step(number).batch.hidden_states)


def gate_of(client: Client) -> Any:
    return client.get(f"/models/{MODEL}").raise_for_status().json()["gate"]


def close_gate(client: Client) -> None:
    client.put(f"/models/{MODEL}", json=DOCUMENT).raise_for_status()
    learn(client, CALM, CALM_STEPS)
    learn(client, WILD, WILD_STEPS)
    assert not gate_of(client)["is_open"]


def open_gate(client: Client) -> None:
    while not gate_of(client)["is_open"]:
        assert state(client, MODEL)["version"] < MOST_STEPS
        learn(client, CALM, 1)


def told(client: Client) -> Told:
    """What it serves, and everything that decides what it serves next."""
    reduced, version = reduce(client, np.eye(WIDTH, dtype=np.float32))
    known = state(client, MODEL)
    return version, reduced.tobytes(), known["version"], known["state_digest"], gate_of(client)


@pytest.mark.parametrize("checkpointed", [False, True])
def test_a_kill_leaves_the_gate_and_what_is_live_as_they_were(
    forks: ForkServer, tmp_path: Path, checkpointed: bool
) -> None:
    before: Told | None = None
    for change in (close_gate, open_gate, told):
        with Served(forks, tmp_path, FLAGS) as served, client_of(served) as client:
            assert before is None or told(client) == before
            change(client)
            if checkpointed:
                client.post(f"/models/{MODEL}/versions").raise_for_status()
            before = told(client)
            assert served.kill() == -9, served.text
