"""The rest of /v2: what the server says of itself and its models, and the model repository."""

from __future__ import annotations

import json
import socket
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPResponse
from pathlib import Path
from threading import Event
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from safetensors.numpy import save

from app import __version__
from tests.conftest import MODELS, ModelFactory, ServerFactory
from tests.contract.inference_wire import infer, inference, reduced_of, refusal_of
from tests.contract.wire import some_rows
from tests.server import RunningServer, create

ROWS = some_rows(3, 8)
CONFIG = json.dumps(MODELS["small"])
INPUT = {"name": "hidden_states", "datatype": "FP32", "shape": [-1, 8]}
OUTPUT = {"name": "reduced", "datatype": "FP32", "shape": [-1, 3]}
METADATA = {"name": "small", "versions": ["1"], "platform": "pytorch_safetensors",
            "inputs": [INPUT], "outputs": [OUTPUT]}  # fmt: skip
SERVER = {
    "name": "slimvec",
    "version": __version__,
    "extensions": [
        "binary_tensor_data", "model_configuration", "model_repository", "parameters", "statistics",
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("", SERVER),
        ("/", SERVER),
        ("/health/live", {"live": True}),
        ("/health/ready", {"live": True, "ready": True}),
        ("/models/small", METADATA),
        ("/models/small/versions/1", METADATA),
        ("/models/small/ready", {"name": "small", "ready": True}),
        ("/models/small/versions/1/ready", {"name": "small", "ready": True}),
        ("/systemsharedmemory/status", []),
        ("/cudasharedmemory/region/r/status", []),
    ],
)
def test_says_what_is_here(server: RunningServer, path: str, expected: object) -> None:
    answer = server.http.get(f"/v2{path}")
    assert (answer.status_code, answer.json()) == (200, expected)
    assert answer.headers["content-type"] == "application/json"


def test_a_config_says_what_tools_of_triton_read(server: RunningServer) -> None:
    assert server.http.get("/v2/models/small/config").json() == {
        "name": "small",
        "platform": "pytorch_safetensors",
        "backend": "slimvec",
        "max_batch_size": 131072,
        "input": [{"name": "hidden_states", "data_type": "TYPE_FP32", "dims": [8]}],
        "output": [{"name": "reduced", "data_type": "TYPE_FP32", "dims": [3]}],
        "version_policy": {"all": {}},
    }


def test_the_lists_name_every_model(server: RunningServer) -> None:
    names = {summary.model for summary in server.service.summaries()}
    assert set(server.http.get("/v2/models").json()["models"]) == names
    counted = server.http.get("/v2/models/stats").json()["model_stats"]
    assert {model["name"] for model in counted} == names
    (small,) = (model for model in counted if model["name"] == "small")
    assert small["memory_usage"] == [{"type": "CPU", "id": 0, "byte_size": 8 * 3 * 4}]


@pytest.mark.parametrize("path", ["", "/ready", "/config", "/stats"])
@pytest.mark.parametrize("model", ["none", "small/versions/9", "small/versions/live"])
def test_what_is_not_there_is_404(server: RunningServer, model: str, path: str) -> None:
    status, code = refusal_of(server.http.get(f"/v2/models/{model}{path}"))
    assert (status, code.rpartition("_")[0]) == (404, code.rpartition("_")[0])
    assert code in {"model_not_found", "version_not_retained", "version_not_found"}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *((method, path) for method in ("GET", "POST") for path in (
            "logging", "trace/setting", "models/small/trace/setting")),
        ("POST", "systemsharedmemory/region/r/register"),
        ("POST", "cudasharedmemory/region/r/register"),
    ],
)  # fmt: skip
def test_what_is_not_offered_says_so(server: RunningServer, method: str, path: str) -> None:
    answer = server.http.request(method, f"/v2/{path}")
    assert refusal_of(answer) == (501, "extension_not_offered")


@pytest.mark.parametrize("memory", ["systemsharedmemory", "cudasharedmemory"])
@pytest.mark.parametrize("which", ["", "/region/r"])
def test_shared_memory_that_never_was_can_be_forgotten(
    server: RunningServer, memory: str, which: str
) -> None:
    answer = server.http.post(f"/v2/{memory}{which}/unregister")
    assert (answer.status_code, answer.content) == (200, b"")


def test_another_method_or_path_is_refused_in_the_same_form(server: RunningServer) -> None:
    assert refusal_of(server.http.get("/v2/repository/index")) == (405, "method_not_allowed")
    assert refusal_of(server.http.get("/v2/none")) == (404, "route_not_found")


def bare_post(server: RunningServer, path: str) -> tuple[int, bytes]:
    """A POST with neither a body nor a Content-Length, as tritonclient sends it."""
    parts = urlsplit(server.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=60) as connection:
        connection.sendall(f"POST {path} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode())
        with HTTPResponse(connection, method="POST") as response:
            response.begin()
            return response.status, response.read()


def test_a_post_without_length_has_no_body(server: RunningServer, new_model: ModelFactory) -> None:
    model = new_model()
    status, body = bare_post(server, "/v2/repository/index")
    ready = {"name": model, "version": "1", "state": "READY", "reason": ""}
    assert (status, ready in json.loads(body)) == (200, True)
    for verb in ("unload", "load"):
        assert bare_post(server, f"/v2/repository/models/{model}/{verb}") == (200, b"")


def index(server: RunningServer, **asked: Any) -> dict[str, str]:
    answer = server.http.post("/v2/repository/index", json=asked).raise_for_status()
    return {entry["name"]: entry["state"] + entry["reason"] for entry in answer.json()}


def test_the_index_has_models_out_of_memory_too(
    server: RunningServer, new_model: ModelFactory
) -> None:
    model = new_model()
    assert change(server, model, "unload", parameters={"unload_dependents": True}) == 200
    assert index(server)[model] == "UNAVAILABLEunloaded"
    assert model not in index(server, ready=True)
    assert server.http.get("/models").json()["not_loaded"][model] == "unloaded"
    assert server.http.get("/health/ready").json()["training"]
    metrics = server.http.get("/metrics").text
    assert f'slimvec_model_loaded{{model="{model}"}} 0.0' in metrics
    for path in ("", "/ready", "/config", "/stats"):
        refused = refusal_of(server.http.get(f"/v2/models/{model}{path}"))
        assert refused == (503, "model_not_loaded")
    assert change(server, model, "load") == 200
    assert index(server)[model] == "READY"


def change(server: RunningServer, model: str, verb: str, **body: Any) -> int:
    answer = server.http.post(f"/v2/repository/models/{model}/{verb}", json=body)
    if answer.status_code != 200:
        refusal_of(answer)
    return answer.status_code


def file(matrix: np.ndarray[Any, Any], name: str = "file:1/model.safetensors") -> dict[str, str]:
    return {name: b64encode(save({"Q_reduced": matrix})).decode()}


def test_files_make_a_model_and_then_its_next_version(
    server: RunningServer, new_model: ModelFactory
) -> None:
    name, matrix = new_model(), np.eye(3, 8, dtype=np.float32)
    server.http.delete(f"/models/{name}").raise_for_status()
    for sign, version in ((1, "1"), (1, "1"), (-1, "2"), (-1, "2")):
        parameters = {"config": CONFIG, **file(sign * matrix)}
        assert change(server, name, "load", parameters=parameters) == 200
        answer = infer(server, inference(ROWS), name)
        assert answer.headers["model-version"] == version
        assert reduced_of(answer).tolist() == (sign * ROWS[:, :3]).tolist()


@pytest.mark.parametrize(
    ("parameters", "status"),
    [
        (file(np.eye(3, 8, dtype=np.float32)), 400),
        ({"config": CONFIG, "file:1/model.safetensors": "!"}, 400),
        ({"config": CONFIG, "file:1/model.safetensors": b64encode(b"no").decode()}, 400),
        ({"config": CONFIG, "file:1/model.safetensors": 1}, 400),
        ({"config": CONFIG, **file(np.eye(3, 8, dtype=np.float32), "file:1/model.pt")}, 400),
        ({"config": CONFIG, **file(np.eye(3, 8, dtype=np.float32), "file:../../x")}, 400),
        ({"config": CONFIG, **file(np.eye(2, 8, dtype=np.float32))}, 400),
        ({"config": CONFIG, **file(np.full((3, 8), np.nan, np.float32))}, 400),
        ({"config": 1}, 400),
        ({"config": "{"}, 400),
        ({"config": '{"input_size": 8}'}, 400),
        ({"config": [CONFIG]}, 400),
        ({}, 404),
    ],
)
def test_what_cannot_be_loaded_makes_nothing(
    server: RunningServer, parameters: dict[str, Any], status: int
) -> None:
    assert change(server, "new", "load", parameters=parameters) == status
    assert refusal_of(server.http.get("/v2/models/new")) == (404, "model_not_found")


def test_a_config_is_never_replaced(server: RunningServer, new_model: ModelFactory) -> None:
    model, other = new_model(), json.dumps(MODELS["nested"])
    assert change(server, model, "load", parameters={"config": CONFIG}) == 200
    assert change(server, model, "load", parameters={"config": other}) == 409


def test_an_unloaded_model_can_be_deleted(server: RunningServer, new_model: ModelFactory) -> None:
    model = new_model()
    assert change(server, model, "unload") == 200
    assert server.http.put(f"/models/{model}", json=MODELS["small"]).status_code == 409
    assert server.http.delete(f"/models/{model}").status_code == 204
    assert change(server, model, "load") == 404


def test_a_mended_model_is_loaded_without_a_restart(
    start_server: ServerFactory, tmp_path: Path
) -> None:
    create(first := start_server(), "mended", MODELS["small"])
    create(first, "small", MODELS["small"])
    assert change(first, "mended", "unload") == 200
    weights = tmp_path / "models" / "mended" / "1" / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(b"damaged")
    assert change(first, "mended", "load") == 503
    assert "can be read" in index(first)["mended"]
    weights.write_bytes(content)
    assert change(first, "mended", "load") == 200


def test_a_list_leaves_out_what_goes_while_it_is_made(start_server: ServerFactory) -> None:
    server, is_over = start_server(), Event()
    names = [f"m{number}" for number in range(12)]
    for name in names:
        create(server, name, MODELS["small"])

    def come_and_go(name: str) -> None:
        with httpx.Client(base_url=server.url, timeout=60) as http:
            while not is_over.is_set():
                for verb in ("unload", "load"):
                    http.post(f"/v2/repository/models/{name}/{verb}").raise_for_status()

    with ThreadPoolExecutor(2) as pool:
        going = [pool.submit(come_and_go, name) for name in names[-2:]]
        lists = ("/v1/models", "/v2/models/stats")
        answers = {server.http.get(path).status_code for _ in range(25) for path in lists}
        is_over.set()
        assert [task.result() for task in going] == [None, None]
    assert answers == {200}


def test_a_server_without_its_default_model_is_not_ready(
    start_server: ServerFactory, tmp_path: Path
) -> None:
    create(server := start_server(), "small", MODELS["small"])
    (tmp_path / "models" / "small" / "1" / "model.safetensors").write_bytes(b"damaged")
    assert change(server, "small", "unload") == 200
    assert change(server, "small", "load") == 503
    assert refusal_of(server.http.get("/v2/health/ready")) == (503, "not_ready")
    assert server.http.get("/v2/health/live").status_code == 200
