"""The promise of the main job: what is trained over HTTP is what PyTorch would have trained."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from torch import nn
from torch.nn import functional as F

from app.types import FloatArray
from tests.e2e.conftest import DEMO
from tests.e2e.process import ServerProcess
from tests.e2e.requests import reduce, state, train

STEPS = 200
ROWS = 32
STUDENT = "student"
CONFIG = {
    "input_size": 384,
    "layers": [{"type": "QRReduction", "n_components": 96}],
    "loss": "mse",
    "optimizer": {"type": "Adam", "lr": 1e-3},
}


def batches(stream: FloatArray, targets: FloatArray) -> list[tuple[FloatArray, FloatArray]]:
    """Two hundred batches that walk through the stream again and again."""
    starts = [(ROWS * step) % len(stream) for step in range(STEPS)]
    return [(stream[start : start + ROWS], targets[start : start + ROWS]) for start in starts]


def plain_loop(weights: FloatArray, todo: list[tuple[FloatArray, FloatArray]]) -> FloatArray:
    """The same steps as anybody would write them."""
    torch.set_num_threads(1)
    layer = nn.Linear(384, 96, bias=False)
    layer.weight = nn.Parameter(torch.tensor(weights))
    optimizer = torch.optim.Adam(layer.parameters(), lr=1e-3)
    for hidden_states, targets in todo:
        optimizer.zero_grad()
        loss = F.mse_loss(layer(torch.tensor(hidden_states)), torch.tensor(targets))
        loss.backward()  # type: ignore[no-untyped-call] # torch leaves it unannotated
        optimizer.step()
    return layer.weight.detach().numpy()


def held_out_loss(server: ServerProcess, rows: FloatArray, targets: FloatArray) -> float:
    return float(np.mean((reduce(server.client, rows)[0] - targets) ** 2))


@pytest.fixture
def teacher(models_dir: Path) -> FloatArray:
    """The demo's matrix: the student learns its reduced vectors."""
    return load_file(models_dir / DEMO / "1" / "model.safetensors")["Q_reduced"]


def test_200_steps_over_http_learn_equal_a_plain_pytorch_loop_and_survive_a_restart(
    models_dir: Path, teacher: FloatArray, stream: FloatArray, held_out: FloatArray
) -> None:
    todo = batches(stream, stream @ teacher.T)
    unseen = held_out @ teacher.T
    student = ("--default-model", STUDENT)
    with ServerProcess(models_dir, *student) as server:
        server.client.put(f"/models/{STUDENT}", json=CONFIG).raise_for_status()
        first = load_file(models_dir / STUDENT / "1" / "model.safetensors")["Q_reduced"]
        before = held_out_loss(server, held_out, unseen)
        answers = [train(server.client, hidden_states=x, targets=t) for x, t in todo]
        after = held_out_loss(server, held_out, unseen)
        learned = state(server.client, STUDENT)
        assert server.stop() == 0
    trained = load_file(models_dir / STUDENT / str(STEPS + 1) / "model.safetensors")["Q_reduced"]

    assert [answer["version"] for answer in answers] == list(range(2, STEPS + 2))
    assert after < before / 2
    np.testing.assert_array_equal(trained, plain_loop(first, todo))  # bit for bit
    with ServerProcess(models_dir, *student) as server:
        assert state(server.client, STUDENT)["state_digest"] == learned["state_digest"]
        assert held_out_loss(server, held_out, unseen) == after


def test_the_moments_survive_a_restart(
    models_dir: Path, teacher: FloatArray, stream: FloatArray
) -> None:
    todo = batches(stream, stream @ teacher.T)[:20]
    student = ("--default-model", STUDENT)
    with ServerProcess(models_dir, *student) as server:
        server.client.put(f"/models/{STUDENT}", json=CONFIG).raise_for_status()
        first = load_file(models_dir / STUDENT / "1" / "model.safetensors")["Q_reduced"]
        for hidden_states, targets in todo[:10]:
            train(server.client, hidden_states=hidden_states, targets=targets)
        assert server.stop() == 0
    with ServerProcess(models_dir, *student) as server:
        for hidden_states, targets in todo[10:]:
            train(server.client, hidden_states=hidden_states, targets=targets)
        assert server.stop() == 0
    trained = load_file(models_dir / STUDENT / "21" / "model.safetensors")["Q_reduced"]
    np.testing.assert_array_equal(trained, plain_loop(first, todo))


def test_rates_schedule_and_waiting_gradients_survive_a_kill(
    models_dir: Path, stream: FloatArray
) -> None:
    config = {
        "input_size": 384,
        "layers": [{"type": "QRReduction", "n_components": 8, "bias": True}],
        "loss": "reconstruction",
        "optimizer": {"type": "SGD", "lr": 0.5, "groups": [{"match": "bias$", "lr": 0.25}]},
        "scheduler": [{"type": "StepLR", "step_size": 2, "gamma": 0.5}],
        "accumulate": 2,
    }
    student = ("--default-model", STUDENT)
    with ServerProcess(models_dir, *student) as server:
        server.client.put(f"/models/{STUDENT}", json=config).raise_for_status()
        answers = [train(server.client, hidden_states=stream[:64]) for _ in range(5)]
        changed = server.client.patch(f"/models/{STUDENT}", json={"lr": [0.125, 0.0625]}).json()
        stood = state(server.client, STUDENT)
        assert server.stop(signal.SIGKILL) == -signal.SIGKILL
    with ServerProcess(models_dir, *student) as server:
        assert state(server.client, STUDENT) == stood
        last = train(server.client, hidden_states=stream[:64])
    updates = [answer["update"] for answer in [*answers, last]]
    assert updates == ["accumulated", "gradient"] * 3
    assert answers[4]["learning_rate"] == [0.125, 0.25]
    # Two of the optimizer's steps halved the rates: of 0.125 the schedule has made 0.0625.
    assert changed["learning_rate"] == last["learning_rate"] == [0.0625, 0.03125]
    assert (last["version"], last["step"]) == (7, 3)


def test_the_demo_keeps_learning_from_a_stream_without_labels(
    models_dir: Path, stream: FloatArray
) -> None:
    with ServerProcess(models_dir) as server:
        digest = server.client.get(f"/models/{DEMO}").json()["digest"]
        losses = [train(server.client, hidden_states=stream)["loss"] for _ in range(30)]
        described = server.client.get(f"/models/{DEMO}").json()
    assert losses[-1] < losses[0]
    assert described["version"] == 31
    assert described["digest"] != digest
