"""The default recipe over HTTP."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.conftest import ModelFactory
from tests.server import RunningServer
from tests.unit.training.distil_examples import WIDTH, rows

DOCUMENT = {
    "input_size": WIDTH,
    "layers": [{"type": "QRReduction", "n_components": 4}],
    "distil": {"warm_up": 40},
    "observed": {"reservoir": 64},
}


@pytest.fixture
def model(new_model: ModelFactory) -> str:
    return new_model(DOCUMENT)


def train(server: RunningServer, model: str, seed: int, **fields: Any) -> httpx.Response:
    body = {"hidden_states": rows(seed).tolist(), **fields}
    return server.http.post(f"/models/{model}/train-step", json=body)


def test_a_step_says_what_kind_of_update_it_was(server: RunningServer, model: str) -> None:
    answers = [train(server, model, seed).raise_for_status().json() for seed in range(4)]
    assert [a["update"] for a in answers] == ["moment", "moment", "moment", "gradient"]
    assert [(a["loss"] is None, a["grad_norm"] is None) for a in answers] == [
        (True, True),
        (True, True),
        (True, True),
        (False, False),
    ]
    assert [(a["version"], a["step"]) for a in answers] == [(2, 0), (3, 0), (4, 0), (5, 1)]


@pytest.mark.parametrize(
    ("fields", "unused"),
    [
        ({"recipe": "distil", "loss": "mse"}, ["/loss"]),
        ({"recipe": "plain", "gate": {"every": 1}, "distil": {"warm_up": 9}}, ["/distil", "/gate"]),
        ({"recipe": "plain", "loss": "mse"}, []),
        ({}, []),
    ],
)
def test_what_a_recipe_makes_nothing_of_is_told(
    server: RunningServer, new_model: ModelFactory, fields: dict[str, Any], unused: list[str]
) -> None:
    layers = {"input_size": WIDTH, "layers": DOCUMENT["layers"]}
    name = new_model({**layers, **fields})
    warnings = server.http.get(f"/models/{name}").json()["warnings"]
    assert [warning.partition(":")[0] for warning in warnings] == unused


def test_positives_are_taken_by_the_recipe(server: RunningServer, model: str) -> None:
    positives = rows(9).tolist()
    answers = [train(server, model, seed, positives=positives).json() for seed in range(3)]
    assert [answer["update"] for answer in answers] == ["moment", "moment", "gradient"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("loss", "mse"),
        ("targets", [[0.0] * 4] * 20),
        ("labels", [0] * 20),
        ("sample_weights", [1.0] * 20),
    ],
)
def test_what_a_declared_loss_would_take_is_refused(
    server: RunningServer, model: str, name: str, value: object
) -> None:
    response = train(server, model, 0, **{name: value})
    problem = response.json()
    assert (response.status_code, problem["code"]) == (422, "recipe_brings_loss")
    assert problem["errors"][0]["pointer"] == f"/{name}"


def test_layers_that_no_moment_tells_are_refused_with_the_pointer(server: RunningServer) -> None:
    layer = {"type": "QRReduction", "n_components": 4, "bias": True}
    document = {"input_size": WIDTH, "layers": [layer], "recipe": "distil"}
    response = server.http.put("/models/no-such", json=document)
    assert (response.status_code, response.json()["code"]) == (422, "config_invalid")
    assert response.json()["errors"][0]["pointer"] == "/recipe"


def test_the_drift_is_in_the_description_and_in_the_metrics(
    server: RunningServer, model: str
) -> None:
    before = server.http.get(f"/models/{model}").json()["drift"]
    for seed in range(5):
        train(server, model, seed).raise_for_status()
    drift = server.http.get(f"/models/{model}").json()["drift"]
    assert before is None
    assert -1 < drift < 1
    assert f'slimvec_drift{{model="{model}"}} {drift}\n' in server.http.get("/metrics").text


def test_the_record_and_the_metrics_tell_what_the_corpus_of_the_last_checkpoint_is_worth(
    server: RunningServer, model: str
) -> None:
    for seed in range(3):
        train(server, model, seed).raise_for_status()
    version = server.http.post(f"/models/{model}/versions").raise_for_status().json()["version"]
    record = server.http.get(f"/models/{model}/versions/{version}").json()
    found = record["metrics"]["compatibility"]
    assert (found["version"], found["corpus_version"]) == (version, 1)
    told = server.http.get("/metrics").text
    for figure in ("kept", "cosine", "nn10"):
        name = f'slimvec_compatibility{{figure="{figure}",model="{model}"}}'
        assert f"{name} {found[figure]}\n" in told
