"""Every refusal has one form; `tests/problem.py` states it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.api.app import create_app
from app.api.edge import Edge
from app.api.errors import KINDS, render
from app.api.gate import Gate
from app.errors import SlimvecError, StepRejected
from app.main import build
from app.settings import Settings
from app.telemetry import Metrics
from tests.conftest import MODELS, ModelFactory, ServerFactory
from tests.problem import assert_canonical
from tests.server import RunningServer, create, raw_request

_ROWS = [[1.0] * 8]
_GOOD = {"hidden_states": _ROWS}


def _good(**headers: str) -> dict[str, Any]:
    """A request that only these headers can spoil."""
    return {"json": _GOOD, "headers": {k.replace("_", "-"): v for k, v in headers.items()}}


_BROKEN = {"content": b"{", "headers": {"content-type": "application/json"}}

REFUSALS: list[tuple[str, str, dict[str, Any], int, str]] = [
    ("POST", "/reduce", _BROKEN, 400, "malformed_json"),
    ("POST", "/reduce?normalize=true&normalize=true", {"json": _GOOD}, 400, "duplicate_key"),
    ("POST", "/train-step", _good(if_match="2"), 400, "bad_if_match"),
    ("GET", "/nowhere", {}, 404, "route_not_found"),
    ("POST", "/nowhere", {"json": {}}, 404, "route_not_found"),
    ("GET", "/models/small/", {}, 404, "route_not_found"),
    ("POST", "/reduce/", {"json": _GOOD}, 404, "route_not_found"),
    ("GET", "/models/absent", {}, 404, "model_not_found"),
    ("GET", "/models/absent/state", {}, 404, "model_not_found"),
    ("GET", "/models/absent/versions", {}, 404, "model_not_found"),
    ("POST", "/models/absent/versions", {}, 404, "model_not_found"),
    ("DELETE", "/models/absent", {}, 404, "model_not_found"),
    ("POST", "/models/absent/reduce", {"json": _GOOD}, 404, "model_not_found"),
    ("POST", "/models/absent/train-step", {"json": _GOOD}, 404, "model_not_found"),
    ("GET", "/models/small/versions/99", {}, 404, "version_not_retained"),
    ("POST", "/reduce", {"json": {**_GOOD, "version": 99}}, 404, "version_not_retained"),
    ("GET", "/reduce", {}, 405, "method_not_allowed"),
    ("POST", "/models/small", {}, 405, "method_not_allowed"),
    ("POST", "/health/live", {}, 405, "method_not_allowed"),
    ("DELETE", "/docs", {}, 405, "method_not_allowed"),
    ("POST", "/reduce", _good(accept="image/png"), 406, "not_acceptable"),
    ("PUT", "/models/small", {"json": MODELS["small"]}, 409, "model_exists"),
    ("POST", "/reduce", {"json": {**_GOOD, "require_version": 7}}, 412, "version_mismatch"),
    ("POST", "/train-step", _good(if_match='"7"'), 412, "version_mismatch"),
    ("POST", "/reduce", {"json": {"hidden_states": [[1]] * 131_073}}, 413, "too_many_rows"),
    ("POST", "/reduce", {"content": b"x"}, 415, "unsupported_media_type"),
    ("POST", "/reduce", _good(content_encoding="gzip"), 415, "unsupported_content_encoding"),
    ("POST", "/reduce", {"json": {}}, 422, "missing_field"),
    ("POST", "/reduce", {"json": {"hidden_states": [[1]]}}, 422, "shape_mismatch"),
    ("POST", "/reduce", {"json": {**_GOOD, "version": "newest"}}, 422, "wrong_type"),
    ("POST", "/reduce", {"json": {**_GOOD, "dimensions": 2}}, 422, "dimensions_unsupported"),
    ("POST", "/train-step", {"json": {**_GOOD, "loss": "mse"}}, 422, "missing_field"),
    ("POST", "/train-step", {"json": {**_GOOD, "loss": "huber"}}, 422, "config_invalid"),
    ("POST", "/models/small/rollback", _good(idempotency_key="k"), 422, "idempotency_unsupported"),
    ("PUT", "/models/new", {"json": {"input_size": 8}}, 422, "config_invalid"),
    ("GET", "/models/A", {}, 422, "model_name_invalid"),
    ("GET", "/models/small/versions/one", {}, 422, "wrong_type"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path", "request_parts", "status", "code"),
    REFUSALS,
    ids=[f"{status}-{code}-{method}-{path}" for method, path, _, status, code in REFUSALS],
)
def test_every_refusal_over_http_is_canonical(
    server: RunningServer,
    method: str,
    path: str,
    request_parts: dict[str, Any],
    status: int,
    code: str,
) -> None:
    assert_canonical(server.http.request(method, path, **request_parts), status, code)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_kind_of_error_renders_canonically(kind: type[SlimvecError]) -> None:
    error = kind("some_word", "expected this, got that; do so")
    status, headers, body = render(error, "an-id")
    answer = httpx.Response(status, headers={**headers, "request-id": "an-id"}, content=body)
    assert_canonical(answer, KINDS[kind].status, "some_word")


def test_a_step_that_a_guard_refuses_is_canonical(
    server: RunningServer, new_model: ModelFactory
) -> None:
    batch = {"hidden_states": [[3e38] * 8], "loss": "reconstruction"}
    answer = server.http.post(f"/models/{new_model()}/train-step", json=batch)
    assert_canonical(answer, 422, "step_rejected")
    assert StepRejected("", reason="").code == "step_rejected"


def test_a_body_over_the_limit_is_refused_before_it_is_read(server: RunningServer) -> None:
    headers = {"content-type": "application/json", "content-length": str(8 * 2**20 + 1)}
    with httpx.Client(base_url=server.url) as http:
        answer = http.post("/reduce", headers=headers, content=b" " * (8 * 2**20 + 1))
    assert_canonical(answer, 413, "body_too_large")


def test_a_draining_server_refuses_changes_and_still_reduces(start_server: ServerFactory) -> None:
    server = start_server()
    create(server, "small", MODELS["small"])
    server.service.life.begin_drain()
    assert_canonical(server.http.post("/train-step", json=_GOOD), 503, "draining")
    assert_canonical(server.http.put("/models/new", json=MODELS["small"]), 503, "draining")
    assert_canonical(server.http.delete("/models/small"), 503, "draining")
    assert server.http.post("/reduce", json=_GOOD).status_code == 200
    assert server.http.get("/health/ready").json() == {
        "status": "draining",
        "serving": False,
        "training": False,
        "reason": "the server is shutting down",
        "stopped": {},
        "not_loaded": {},
    }


@pytest.mark.anyio
async def test_a_server_that_is_still_loading_says_so(tmp_path: Path) -> None:
    assembly = build(Settings(models_dir=tmp_path, device="cpu"))
    with assembly.resources:
        app = create_app(
            Edge(assembly.service, assembly.settings, Metrics(), Gate(assembly.settings))
        )
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            for path in ("/reduce", "/train-step"):
                assert_canonical(await http.post(path, json=_GOOD), 503, "not_ready")
            ready = await http.get("/health/ready")
    assert (ready.status_code, ready.json()["status"]) == (503, "starting")


def test_a_wrong_method_names_the_right_ones(server: RunningServer) -> None:
    answer = server.http.put("/health/live")
    assert_canonical(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "GET"


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/v2", "GET"),
        ("/v2/models/small/config", "GET"),
        ("/v2/models/stats", "GET"),
        ("/v2/logging", "GET, POST"),
        ("/v2/repository/index", "POST"),
        ("/v2/models/small/infer", "POST"),
    ],
)
def test_another_method_is_told_those_of_its_path_under_v2(
    server: RunningServer, path: str, methods: str
) -> None:
    answer = server.http.delete(path)
    assert (answer.status_code, answer.headers["allow"]) == (405, methods)


@pytest.mark.parametrize(
    "target",
    ["//reduce", "/REDUCE", "/reduce%2f", "/reduce;x=1", "/v1/../reduce"],
)
def test_a_path_that_looks_like_another_is_not_it(server: RunningServer, target: str) -> None:
    headers = (("Content-Type", "application/json"),)
    answer = raw_request(
        server, target, method="POST", headers=headers, body=b'{"hidden_states": [[1]]}'
    )
    assert (answer.status, json.loads(answer.body)["code"]) == (404, "route_not_found")


def test_the_request_id_is_the_clients_own_when_it_is_a_harmless_word(
    server: RunningServer,
) -> None:
    own = server.http.get("/models", headers={"request-id": "a-1.b_2"})
    odd = server.http.get("/models", headers={"request-id": "<script>"})
    long = server.http.get("/models", headers={"request-id": "a" * 65})
    assert own.headers["request-id"] == "a-1.b_2"
    assert {len(odd.headers["request-id"]), len(long.headers["request-id"])} == {16}
