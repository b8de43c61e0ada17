"""A closed gate, as clients and operators of every protocol see it."""

from __future__ import annotations

import re
from typing import Any

import httpx
import numpy as np
import pytest

from tests.checks.gate import (
    CALM,
    CALM_STEPS,
    DOCUMENT,
    WIDTH,
    WILD,
    WILD_STEPS,
    stream_step,
)
from tests.conftest import ModelFactory
from tests.contract.inference_wire import inference
from tests.server import RunningServer
from tests.stream import NDJSON, json_record

ROWS = np.eye(WIDTH, dtype=np.float32)
PASSED, NEWEST = CALM_STEPS + 1, CALM_STEPS + WILD_STEPS + 1


@pytest.fixture
def model(server: RunningServer, new_model: ModelFactory) -> str:
    """A model of which version PASSED is live and version NEWEST is held back."""
    name = new_model(DOCUMENT)
    _learn(server, name, CALM, range(1, PASSED))
    _learn(server, name, WILD, range(PASSED, NEWEST))
    return name


def _learn(server: RunningServer, model: str, rate: float, numbers: range) -> None:
    server.http.patch(f"/models/{model}", json={"lr": rate}).raise_for_status()
    for number in numbers:
        _train(server, model, number)


def _train(server: RunningServer, model: str, number: int, **headers: str) -> httpx.Response:
    batch = {"hidden_states": stream_step(number).batch.hidden_states.tolist()}
    answer = server.http.post(f"/models/{model}/train-step", json=batch, headers=headers)
    return answer.raise_for_status()


def _described(server: RunningServer, model: str) -> dict[str, Any]:
    body: dict[str, Any] = server.http.get(f"/models/{model}").raise_for_status().json()
    return body


def _ask(server: RunningServer, model: str, protocol: str) -> httpx.Response:
    if protocol == "openai":
        body = {"model": model, "input": ROWS.tolist()}
        return server.http.post("/v1/embeddings", json=body)
    if protocol == "inference":
        request = inference(ROWS)
        path = f"/v2/models/{model}/infer"
        return server.http.post(path, content=request.body, headers=request.headers)
    body = {"hidden_states": ROWS.tolist()} | ({"version": "live"} if protocol == "live" else {})
    return server.http.post(f"/models/{model}/reduce", json=body)


@pytest.mark.parametrize("protocol", ["native", "live", "inference", "openai"])
def test_every_protocol_answers_by_the_version_that_passed(
    server: RunningServer, model: str, protocol: str
) -> None:
    answer = _ask(server, model, protocol).raise_for_status()
    assert answer.headers["model-version"] == str(PASSED)


@pytest.mark.parametrize("version", [PASSED, NEWEST])
def test_both_versions_may_be_asked_for_by_number(
    server: RunningServer, model: str, version: int
) -> None:
    body = {"hidden_states": ROWS.tolist(), "version": version}
    answer = server.http.post(f"/models/{model}/reduce", json=body).raise_for_status()
    assert answer.json()["version"] == version


def test_a_model_says_what_it_waits_for(server: RunningServer, model: str) -> None:
    body = _described(server, model)
    gate = body["gate"]
    assert (body["version"], body["serving"]) == (NEWEST, "live")
    assert (gate["is_open"], gate["passed"], gate["judged"]) == (False, PASSED, NEWEST)
    assert gate["nn10"]["passed"] - gate["nn10"]["judged"] > max(0.005, gate["nn10"]["doubt"])
    assert (gate["mrr"], gate["rows"]) == (None, 64)
    assert f"version {NEWEST} is worse than version {PASSED}: nn10 fell from" in gate["reason"]


def test_a_step_that_is_held_back_says_what_is_served_also_when_sent_again(
    server: RunningServer, model: str
) -> None:
    key = {"Idempotency-Key": "held back"}
    first, again = (_train(server, model, NEWEST, **key) for _ in range(2))
    assert (first.json()["version"], first.json()["serving"]) == (NEWEST + 1, PASSED)
    assert again.content == first.content


def test_a_stream_that_is_held_back_says_what_is_served(server: RunningServer, model: str) -> None:
    record = json_record(hidden_states=stream_step(NEWEST).batch.hidden_states)
    headers = {"content-type": NDJSON}
    path = f"/models/{model}/train-stream"
    answer = server.http.post(path, content=record, headers=headers).raise_for_status()
    assert (answer.json()["version"], answer.json()["serving"]) == (NEWEST + 1, PASSED)


def test_a_model_without_a_gate_says_none(server: RunningServer) -> None:
    body = _described(server, "small")
    assert (body["gate"], body["quality"]) == (None, None)


def test_serving_live_lets_the_newest_pass(server: RunningServer, model: str) -> None:
    server.http.put(f"/models/{model}/serving", json={"version": "live"}).raise_for_status()
    gate = _described(server, model)["gate"]
    assert (gate["is_open"], gate["passed"]) == (True, NEWEST)
    assert _ask(server, model, "native").headers["model-version"] == str(NEWEST)


def test_the_record_of_a_version_has_its_own_figures_only(
    server: RunningServer, model: str
) -> None:
    server.http.post(f"/models/{model}/versions").raise_for_status()
    metrics = server.http.get(f"/models/{model}/versions/{NEWEST}").json()["metrics"]
    assert metrics["gate"] == _described(server, model)["gate"]
    versions = {name: told["version"] for name, told in metrics.items() if name != "gate"}
    assert versions["compatibility"] == NEWEST
    assert set(versions.values()) == {NEWEST}


def test_the_metrics_say_gate_and_quality(server: RunningServer, model: str) -> None:
    server.http.post(f"/models/{model}/versions").raise_for_status()
    found = _gauges(server, model)
    body = _described(server, model)
    gate, quality = body["gate"]["nn10"], body["quality"]
    assert (found["model_version"], found["live_version"]) == (NEWEST, PASSED)
    assert found["gate_open"] == 0
    assert found["gate_figure,nn10,judged"] == gate["judged"]
    assert found["gate_figure,nn10,passed"] == gate["passed"]
    assert {name: found[f"quality,{name}"] for name in quality if name != "at"} == {
        name: value for name, value in quality.items() if name != "at"
    }


def _gauges(server: RunningServer, model: str) -> dict[str, float]:
    """What /metrics says of one model, by the name and the values of the other labels."""
    pattern = rf'^slimvec_(\w+)\{{(.*)model="{model}"(.*)\}} (\S+)$'
    text = server.http.get("/metrics").text
    return {
        ",".join([name, *re.findall('"([^"]*)"', before + after)]): float(value)
        for name, before, after, value in re.findall(pattern, text, flags=re.MULTILINE)
    }
