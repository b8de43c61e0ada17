"""Learning rates, fit, weights replaced; and what every control refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from tests.conftest import MODELS, ModelFactory, ServerFactory
from tests.contract.wire import SAFETENSORS, reduced_of, some_rows
from tests.problem import assert_canonical
from tests.server import RunningServer, create, declare, raw_request, serving

_ROWS = some_rows(16, 8)
_BATCH = {"hidden_states": _ROWS.tolist()}
_WEIGHTS = some_rows(3, 8)
_UPLOAD: dict[str, Any] = {
    "content": save({"Q": _WEIGHTS}),
    "headers": {"content-type": SAFETENSORS},
}
_JSON = (("Content-Type", "application/json"),)
# Each control as it would be accepted at version 1.
CONTROLS: dict[str, tuple[str, str, bytes]] = {
    "serving": ("PUT", "/serving", b'{"version": 1}'),
    "rollback": ("POST", "/rollback", b'{"version": 1}'),
    "configure": ("PATCH", "", b'{"lr": 0.5}'),
    "fit": ("POST", "/fit", str(_BATCH).replace("'", '"').encode()),
    "replace": ("PUT", "", _UPLOAD["content"]),
}


def _state(server: RunningServer, path: str) -> Any:
    return server.http.get(f"{path}/state").json()


def _control(server: RunningServer, path: str, name: str, **headers: str) -> Any:
    method, end, content = CONTROLS[name]
    media_type = SAFETENSORS if name == "replace" else "application/json"
    given = {"content-type": media_type, **{k.replace("_", "-"): v for k, v in headers.items()}}
    return server.http.request(method, f"{path}{end}", content=content, headers=given)


@pytest.mark.parametrize("if_match", ['"1"', "*"])
@pytest.mark.parametrize("name", CONTROLS)
def test_if_match_that_holds_lets_a_control_through(
    server: RunningServer, new_model: ModelFactory, name: str, if_match: str
) -> None:
    path = f"/models/{new_model()}"
    answer = _control(server, path, name, if_match=if_match)
    version = 2 if name in ("rollback", "fit", "replace") else 1
    assert (answer.status_code, answer.json()["version"]) == (200, version), answer.text
    assert _state(server, path)["version"] == version
    assert _state(server, path)["seq"] == 1


@pytest.mark.parametrize(
    ("if_match", "status", "code"),
    [
        ('"2"', 412, "version_mismatch"),
        ("1", 400, "bad_if_match"),
        ('W/"1"', 400, "bad_if_match"),
        ("", 400, "bad_if_match"),
    ],
)
@pytest.mark.parametrize("name", CONTROLS)
def test_if_match_that_does_not_hold_changes_nothing(
    server: RunningServer, name: str, if_match: str, status: int, code: str
) -> None:
    before = _state(server, "/models/nested")
    answer = _control(server, "/models/nested", name, if_match=if_match)
    assert_canonical(answer, status, code)
    assert _state(server, "/models/nested") == before


@pytest.mark.parametrize("name", CONTROLS)
def test_a_control_takes_no_idempotency_key_and_says_what_to_send(
    server: RunningServer, name: str
) -> None:
    headers = {"idempotency_key": "a", "if_match": '"1"'}
    answer = _control(server, "/models/nested", name, **headers)
    assert_canonical(answer, 422, "idempotency_unsupported", detail="If-Match")


@pytest.mark.parametrize("name", CONTROLS)
def test_a_draining_server_refuses_every_control(start_server: ServerFactory, name: str) -> None:
    server = start_server()
    create(server, "small", MODELS["small"])
    server.service.life.begin_drain()
    assert_canonical(_control(server, "/models/small", name, if_match="*"), 503, "draining")


@pytest.mark.parametrize("name", CONTROLS)
def test_a_control_of_an_absent_model_is_404(server: RunningServer, name: str) -> None:
    answer = _control(server, "/models/absent", name, if_match="*")
    assert_canonical(answer, 404, "model_not_found")


@pytest.mark.parametrize("path", ["/serving", "/rollback"])
@pytest.mark.parametrize(
    ("body", "status", "code", "pointer"),
    [
        ("{}", 422, "missing_field", "/version"),
        ('{"version": 1, "now": true}', 422, "unknown_field", "/now"),
        ('{"version": 1.0}', 422, "wrong_type", "/version"),
        ('{"version": "1"}', 422, "wrong_type", "/version"),
        ('{"version": "newest"}', 422, "wrong_type", "/version"),
        ('{"version": true}', 422, "wrong_type", "/version"),
        ('{"version": null}', 422, "wrong_type", "/version"),
        ('{"version": [1]}', 422, "wrong_type", "/version"),
        ('{"version": 0}', 422, "out_of_range", "/version"),
        ('{"version": -1}', 422, "out_of_range", "/version"),
        ('{"version": 9223372036854775808}', 422, "out_of_range", "/version"),
        ('{"version": NaN}', 400, "malformed_json", ""),
        ('{"version": 1, "version": 1}', 400, "duplicate_key", ""),
        ('[{"version": 1}]', 422, "wrong_type", ""),
        ("", 400, "empty_body", ""),
    ],
)
def test_a_body_without_a_version_number_changes_nothing(
    server: RunningServer, path: str, body: str, status: int, code: str, pointer: str
) -> None:
    before = _state(server, "/models/nested")
    method = "PUT" if path == "/serving" else "POST"
    target = f"/models/nested{path}"
    answer = server.http.request(method, target, content=body, headers=dict(_JSON))
    problem: Any = assert_canonical(answer, status, code)
    assert [fault["pointer"] for fault in problem.get("errors", [])] == [pointer] * bool(pointer)
    assert _state(server, "/models/nested") == before


def test_live_is_nothing_to_roll_back_to(server: RunningServer) -> None:
    answer = server.http.post("/models/nested/rollback", json={"version": "live"})
    assert_canonical(answer, 422, "wrong_type")


@pytest.mark.parametrize(
    ("value", "status", "code"),
    [
        ("0", 422, "config_invalid"),
        ("-1", 422, "config_invalid"),
        ("1e30", 422, "config_invalid"),
        ("[0.1, 0.2]", 422, "config_invalid"),
        ("[0]", 422, "config_invalid"),
        ("NaN", 400, "malformed_json"),
        ("Infinity", 400, "malformed_json"),
        ("1e999", 422, "non_finite_input"),
        ("true", 422, "wrong_type"),
        ('"0.1"', 422, "wrong_type"),
        ("null", 422, "wrong_type"),
        ("[]", 422, "wrong_type"),
        ("[true]", 422, "wrong_type"),
        ("[[0.1]]", 422, "wrong_type"),
        ('{"Q_reduced": 0.1}', 422, "wrong_type"),
    ],
)
def test_row_74_what_is_no_learning_rate_changes_nothing(
    server: RunningServer, value: str, status: int, code: str
) -> None:
    before = _state(server, "/models/nested")
    body = f'{{"lr": {value}}}'
    answer = server.http.patch("/models/nested", content=body, headers=dict(_JSON))
    assert_canonical(answer, status, code)
    assert _state(server, "/models/nested") == before


def test_a_learning_rate_counts_from_the_next_step_on(
    server: RunningServer, new_model: ModelFactory
) -> None:
    optimizer = {"type": "SGD", "lr": 0.25}
    path = f"/models/{new_model(declare(8, 3, optimizer=optimizer))}"
    twin = f"/models/{new_model(declare(8, 3, optimizer=optimizer | {'lr': 1}))}"
    answer = server.http.patch(path, json={"lr": 1}).json()
    step, expected = (server.http.post(f"{p}/train-step", json=_BATCH).json() for p in (path, twin))
    assert (answer["kind"], answer["version"], answer["learning_rate"]) == ("config", 1, 1.0)
    assert step["learning_rate"] == 1.0
    assert step["digest"] == expected["digest"]


def test_each_parameter_group_can_have_its_own_rate(
    server: RunningServer, new_model: ModelFactory
) -> None:
    optimizer = {"type": "SGD", "lr": 0.25, "groups": [{"match": "bias$", "lr": 0.5}]}
    path = f"/models/{new_model(declare(8, 3, layer={'bias': True}, optimizer=optimizer))}"
    assert server.http.patch(path, json={"lr": [0.1, 2]}).json()["learning_rate"] == [0.1, 2.0]
    assert _state(server, path)["learning_rate"] == [0.1, 2.0]
    assert server.http.patch(path, json={"lr": 3}).json()["learning_rate"] == [3.0, 3.0]


def test_one_rate_in_an_array_is_none_for_two_groups(
    server: RunningServer, new_model: ModelFactory
) -> None:
    optimizer = {"type": "SGD", "lr": 0.25, "groups": [{"match": "bias$", "lr": 0.5}]}
    path = f"/models/{new_model(declare(8, 3, layer={'bias': True}, optimizer=optimizer))}"
    answer = server.http.patch(path, json={"lr": [0.1]})
    assert_canonical(answer, 422, "config_invalid", detail="one for each of the 2, got an array")
    assert _state(server, path)["learning_rate"] == [0.5, 0.25]


@pytest.mark.parametrize("body", [{"weight_decay": 0.1}, {"lr": 0.1, "weight_decay": 0.1}])
def test_other_hyper_parameters_are_refused_with_what_can_be_changed(
    server: RunningServer, body: dict[str, float]
) -> None:
    answer = server.http.patch("/models/small", json=body)
    assert_canonical(answer, 422, "unknown_field", detail="no such field; expected one of: lr")
    assert answer.json()["errors"][0]["pointer"] == "/weight_decay"


def test_a_learning_rate_survives_a_restart(start_server: ServerFactory, tmp_path: Path) -> None:
    with serving(tmp_path) as first:
        create(first, "small", MODELS["small"])
        first.http.patch("/models/small", json={"lr": 0.125}).raise_for_status()
    assert _state(start_server(tmp_path), "/models/small")["learning_rate"] == 0.125


def test_replaced_weights_are_a_new_version_with_a_fresh_optimizer(
    server: RunningServer, new_model: ModelFactory
) -> None:
    path = f"/models/{new_model()}"
    server.http.post(f"{path}/train-step", json=_BATCH).raise_for_status()
    headers = _UPLOAD["headers"] | {"if-match": '"2"'}
    answer = server.http.put(path, content=_UPLOAD["content"], headers=headers)
    reduced = reduced_of(server.http.post(f"{path}/reduce", json=_BATCH))
    assert answer.status_code == 200
    assert [answer.json()[name] for name in ("kind", "version", "step")] == ["import", 3, 0]
    # float32 sums of 8 products in another order.
    np.testing.assert_allclose(reduced, _ROWS @ _WEIGHTS.T, rtol=0, atol=1e-5)


def test_a_plain_put_never_replaces(server: RunningServer) -> None:
    before = _state(server, "/models/nested")
    assert_canonical(server.http.put("/models/nested", **_UPLOAD), 409, "model_exists")
    assert _state(server, "/models/nested") == before


def test_a_config_is_never_replaced(server: RunningServer) -> None:
    headers = {"if-match": "*"}
    answer = server.http.put("/models/nested", json=declare(8, 2), headers=headers)
    assert_canonical(answer, 415, "unsupported_media_type")


@pytest.mark.parametrize(
    "tensors",
    [{"Q": some_rows(2, 8)}, {"Q": some_rows(3, 7)}, {"Q": _WEIGHTS, "bias": _WEIGHTS[:, 0]}, {}],
    ids=["fewer-components", "narrower", "bias", "nothing"],
)
def test_weights_of_another_shape_replace_nothing(
    server: RunningServer, tensors: dict[str, Any]
) -> None:
    before = _state(server, "/models/nested")
    content = save({name: np.ascontiguousarray(array) for name, array in tensors.items()})
    headers = _UPLOAD["headers"] | {"if-match": "*"}
    answer = server.http.put("/models/nested", content=content, headers=headers)
    assert_canonical(answer, 422, "artifact_incompatible")
    assert _state(server, "/models/nested") == before


def test_if_match_given_twice_is_refused(server: RunningServer) -> None:
    headers = (*_JSON, ("If-Match", '"1"'), ("If-Match", '"1"'))
    target = "/models/nested/rollback"
    answer = raw_request(server, target, method="POST", headers=headers, body=b'{"version": 1}')
    assert (answer.status, b'"code":"duplicate_header"' in answer.body) == (400, True)


@pytest.mark.parametrize(("method", "end"), [("PUT", "/serving"), ("POST", "/rollback")])
def test_a_control_is_json_and_small(server: RunningServer, method: str, end: str) -> None:
    target, binary = f"/models/nested{end}", {"content-type": SAFETENSORS}
    answer = server.http.request(method, target, content=b"1", headers=binary)
    assert_canonical(answer, 415, "unsupported_media_type")
    body = b'{"version": 1' + b" " * (1 << 20) + b"}"
    answer = server.http.request(method, target, content=body, headers=dict(_JSON))
    assert_canonical(answer, 413, "body_too_large")
