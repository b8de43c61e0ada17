"""Every kind of layer through a real server: reduce, train, checkpoint, restart, and a kill."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.layers import KINDS
from tests.checks.kinds import N_COMPONENTS, declared, document, rows_of
from tests.server import RunningServer, create, serving

MASK = [[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 1, 0]]


@dataclass(frozen=True)
class Seen:
    """What a server says of one model: the bytes of its answers, and the trainer's digest."""

    reduced: bytes
    state_digest: str
    version: int


@dataclass(frozen=True)
class Lives:
    """The same models in a server that trained them, after a kill of it, and after its end."""

    trained: dict[str, Seen]
    killed: dict[str, Seen]
    ended: dict[str, Seen]


def model_of(name: str) -> str:
    return name.lower()


def request(name: str, count: int = 4, **fields: Any) -> dict[str, Any]:
    masked = {"mask": MASK[:count]} if declared(name).uses_mask else {}
    return {"hidden_states": rows_of(name, count).tolist(), **masked, **fields}


def post(server: RunningServer, name: str, verb: str, body: Any = None) -> bytes:
    answer = server.http.post(f"/models/{model_of(name)}/{verb}", json=body)
    assert answer.is_success, answer.text
    return answer.content


def train(server: RunningServer, name: str) -> None:
    targets = np.linspace(-1, 1, 4 * N_COMPONENTS).reshape(4, N_COMPONENTS).tolist()
    post(server, name, "train-step", request(name, targets=targets))


def look(server: RunningServer) -> dict[str, Seen]:
    seen = {}
    for name in KINDS:
        state = server.http.get(f"/models/{model_of(name)}/state").json()
        reduced = post(server, name, "reduce", request(name))
        seen[name] = Seen(reduced, state["state_digest"], state["version"])
    return seen


@pytest.fixture(scope="module")
def lives(tmp_path_factory: pytest.TempPathFactory) -> Lives:
    """Each model is trained, written, and trained again: what a kill leaves is in the journal."""
    root: Path = tmp_path_factory.mktemp("kinds")
    models, crashed = root / "models", root / "crashed"
    models.mkdir()
    with serving(models) as server:
        for name in KINDS:
            create(server, model_of(name), document(name))
            train(server, name)
            post(server, name, "versions")
            train(server, name)
        trained = look(server)
        shutil.copytree(models, crashed)
    with serving(crashed) as server:
        killed = look(server)
    with serving(models) as server:
        return Lives(trained, killed, look(server))


@pytest.mark.parametrize("name", KINDS)
def test_replay_after_a_kill_gives_the_same_bits(lives: Lives, name: str) -> None:
    assert lives.trained[name].version == 3
    assert lives.killed[name] == lives.trained[name]


@pytest.mark.parametrize("name", KINDS)
def test_checkpoint_gives_the_same_bits(lives: Lives, name: str) -> None:
    assert lives.ended[name] == lives.trained[name]
