"""POST /train-step: formats, losses, preconditions, and what is refused leaves no trace."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from tests.conftest import ModelFactory
from tests.contract.wire import SAFETENSORS, as_base64, as_npy, reduced_of, some_rows
from tests.problem import assert_canonical
from tests.server import RunningServer, declare, raw_request

_FIELDS = {
    "model", "version", "step", "update", "loss", "grad_norm", "learning_rate", "rows", "digest",
}  # fmt: skip
_ROWS = some_rows(6, 8)
_TARGETS = some_rows(6, 3)
_WEIGHTS = np.array([1, 2, 0, 1, 1, 0.5], np.float32)

BATCHES: list[tuple[str, dict[str, Any]]] = [
    ("mse", {"targets": _TARGETS}),
    ("mse", {"targets": _TARGETS, "sample_weights": _WEIGHTS}),
    ("cosine", {"targets": _TARGETS}),
    ("reconstruction", {}),
    ("similarity", {}),
    ("similarity", {"sample_weights": _WEIGHTS}),
]


_WRONG_WEIGHTS = ("sample_weights_invalid", "/sample_weights")


def _state(server: RunningServer, model: str) -> Any:
    return server.http.get(f"/models/{model}/state").json()


def test_an_answer_says_everything_about_the_step(
    server: RunningServer, new_model: ModelFactory
) -> None:
    model = new_model(declare(8, 3, optimizer={"type": "SGD", "lr": 0.25}))
    answer = server.http.post(f"/models/{model}/train-step", json={"hidden_states": _ROWS.tolist()})
    body = answer.json()
    state, described = _state(server, model), server.http.get(f"/models/{model}").json()
    assert body.keys() == _FIELDS
    assert [body[k] for k in ("model", "version", "step", "update")] == [model, 2, 1, "gradient"]
    assert (body["learning_rate"], body["rows"]) == (0.25, 6)
    assert np.isfinite([body["loss"], body["grad_norm"]]).all()
    assert (state["version"], state["step"]) == (2, 1)
    assert (described["version"], described["digest"]) == (2, body["digest"])
    assert [answer.headers[f"model-{k}"] for k in ("name", "version", "digest")] == [
        model, "2", body["digest"],
    ]  # fmt: skip


def test_each_parameter_group_has_its_learning_rate(
    server: RunningServer, new_model: ModelFactory
) -> None:
    groups = [{"match": "bias$", "lr": 0.5}]
    optimizer = {"type": "SGD", "lr": 0.25, "groups": groups}
    model = new_model(declare(8, 3, layer={"bias": True}, optimizer=optimizer))
    body = {"hidden_states": _ROWS.tolist()}
    answer = server.http.post(f"/models/{model}/train-step", json=body)
    assert answer.json()["learning_rate"] == [0.5, 0.25]


def test_a_step_changes_what_reduce_answers(server: RunningServer, new_model: ModelFactory) -> None:
    path, body = f"/models/{new_model()}", {"hidden_states": _ROWS.tolist()}
    before = reduced_of(server.http.post(f"{path}/reduce", json=body))
    step = server.http.post(f"{path}/train-step", json=body).json()
    after = server.http.post(f"{path}/reduce", json=body)
    assert (after.json()["version"], after.json()["digest"]) == (step["version"], step["digest"])
    assert not np.array_equal(reduced_of(after), before)


@pytest.mark.parametrize(
    ("loss", "fields"), BATCHES, ids=[f"{n}-{'-'.join(f)}" for n, f in BATCHES]
)
def test_every_format_applies_the_same_step_bit_for_bit(
    server: RunningServer, new_model: ModelFactory, loss: str, fields: dict[str, Any]
) -> None:
    arrays = {"hidden_states": _ROWS, **fields}
    as_lists = {name: array.tolist() for name, array in arrays.items()}
    in_base64 = {name: as_base64(array) for name, array in arrays.items()}
    binary = {"content": save(arrays), "headers": {"content-type": SAFETENSORS}}
    requests: list[tuple[str, dict[str, Any]]] = [
        ("", {"json": {**as_lists, "loss": loss}}),
        ("", {"json": {**in_base64, "loss": {"type": loss}}}),
        (f"?loss={loss}", binary),
    ]
    answers = []
    for query, request in requests:
        model = new_model()
        step = server.http.post(f"/models/{model}/train-step{query}", **request)
        assert step.status_code == 200, step.text
        answers.append((step.json() | {"model": ""}, _state(server, model)["state_digest"]))
    assert answers[1:] == answers[:1] * 2


def test_a_step_that_names_no_loss_uses_the_configs(
    server: RunningServer, new_model: ModelFactory
) -> None:
    own, named = new_model(declare(8, 3, loss="reconstruction")), new_model()
    body = {"hidden_states": _ROWS.tolist()}
    by_config = server.http.post(f"/models/{own}/train-step", json=body).json()
    by_name = server.http.post(
        f"/models/{named}/train-step", json={**body, "loss": "reconstruction"}
    ).json()
    assert by_config | {"model": ""} == by_name | {"model": ""}


def test_leading_dimensions_are_rows(server: RunningServer, new_model: ModelFactory) -> None:
    flat, deep = new_model(), new_model()
    for model, shape in ((flat, (6,)), (deep, (2, 3))):
        body = {
            "hidden_states": _ROWS.reshape(*shape, 8).tolist(),
            "targets": _TARGETS.reshape(*shape, 3).tolist(),
            "sample_weights": _WEIGHTS.reshape(shape).tolist(),
            "loss": "mse",
        }
        answer = server.http.post(f"/models/{model}/train-step", json=body)
        assert answer.json()["rows"] == 6
    assert _state(server, flat)["state_digest"] == _state(server, deep)["state_digest"]


@pytest.mark.parametrize("if_match", ['"1"', "*"])
def test_if_match_that_holds_lets_the_step_through(
    server: RunningServer, new_model: ModelFactory, if_match: str
) -> None:
    answer = server.http.post(
        f"/models/{new_model()}/train-step",
        json={"hidden_states": _ROWS.tolist()},
        headers={"if-match": if_match},
    )
    assert (answer.status_code, answer.json()["version"]) == (200, 2)


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ((("If-Match", '"0"'),), 412, "version_mismatch"),
        ((("If-Match", '"999999999999999999"'),), 412, "version_mismatch"),
        ((("If-Match", "1"),), 400, "bad_if_match"),
        ((("If-Match", 'W/"1"'),), 400, "bad_if_match"),
        ((("If-Match", '"1", "2"'),), 400, "bad_if_match"),
        ((("If-Match", '"one"'),), 400, "bad_if_match"),
        ((("If-Match", '"-1"'),), 400, "bad_if_match"),
        ((("If-Match", '""'),), 400, "bad_if_match"),
        ((("If-Match", ""),), 400, "bad_if_match"),
        ((("If-Match", f'"{"9" * 5000}"'),), 400, "bad_if_match"),
        ((("If-Match", '"1"'), ("If-Match", '"2"')), 400, "duplicate_header"),
    ],
    ids=str,
)
def test_a_condition_that_does_not_hold_changes_nothing(
    server: RunningServer, headers: tuple[tuple[str, str], ...], status: int, code: str
) -> None:
    before = _state(server, "small")
    body = b'{"hidden_states": [[1, 2, 3, 4, 5, 6, 7, 8]]}'
    given = (("Content-Type", "application/json"), *headers)
    answer = raw_request(server, "/train-step", method="POST", headers=given, body=body)
    assert answer.status == status
    assert f'"code":"{code}"'.encode() in answer.body
    assert _state(server, "small") == before


@pytest.mark.parametrize(
    ("fields", "code", "pointer"),
    [
        ({}, "missing_field", "/targets"),
        ({"targets": [[1, 1]]}, "target_shape_mismatch", "/targets"),
        ({"loss": "similarity", "targets": [[1, 1, 1]]}, "field_not_used", "/targets"),
        ({"targets": [[1, 1, 1]], "sample_weights": [1, 1]}, *_WRONG_WEIGHTS),
        ({"targets": [[1, 1, 1]], "sample_weights": [-1]}, _WRONG_WEIGHTS[0], "/sample_weights/0"),
        ({"targets": [[1, 1, 1]], "sample_weights": [0]}, *_WRONG_WEIGHTS),
        ({"loss": "huber"}, "config_invalid", "/loss/type"),
        ({"loss": {"type": "mse", "delta": 1}}, "config_invalid", "/loss/delta"),
        ({"loss": {}}, "config_invalid", "/loss/type"),
        ({"loss": 5}, "config_invalid", "/loss"),
        ({"loss": None}, "config_invalid", "/loss"),
        ({"tokens": [1]}, "unknown_field", ""),
        ({"lr": 0.1}, "unknown_field", ""),
        ({"version": 1}, "unknown_field", ""),
    ],
    ids=str,
)  # fmt: skip
def test_a_batch_that_does_not_fit_changes_nothing(
    server: RunningServer, fields: dict[str, Any], code: str, pointer: str
) -> None:
    before = _state(server, "small")
    body = {"hidden_states": [[1] * 8], "loss": "mse", **fields}
    problem = assert_canonical(server.http.post("/train-step", json=body), 422, code)
    assert [fault["pointer"] for fault in problem.get("errors", [])] == [pointer] * bool(pointer)  # type: ignore[attr-defined]  # a list, as assert_canonical saw
    assert _state(server, "small") == before


@pytest.mark.parametrize(
    "body",
    [
        {"hidden_states": [[3e38] * 8], "loss": "reconstruction"},
        {"hidden_states": [[1] * 8], "targets": [[3e38] * 3], "loss": "mse"},
        {"hidden_states": [[1e18] * 8], "targets": [[-1e19] * 3], "loss": "mse"},
    ],
)
def test_a_step_that_would_not_be_finite_is_refused_and_leaves_no_trace(
    server: RunningServer, body: dict[str, Any]
) -> None:
    before = _state(server, "small")
    assert_canonical(server.http.post("/train-step", json=body), 422, "step_rejected")
    assert _state(server, "small") == before


def test_a_step_found_wrong_after_its_update_is_undone(
    server: RunningServer, new_model: ModelFactory
) -> None:
    model = new_model(declare(8, 3, optimizer={"type": "Adagrad", "lr": 0.01}))
    # The first step's squared gradient, 2.4e38, fits float32; Adagrad's sum of two does not.
    body = {"hidden_states": [1.3, *[0] * 7], "targets": [1.8e19, 0, 0], "loss": "mse"}
    path = f"/models/{model}/train-step"
    assert server.http.post(path, json=body).json()["version"] == 2
    before = _state(server, model)
    assert_canonical(server.http.post(path, json=body), 422, "step_rejected")
    assert _state(server, model) == before


def test_refused_steps_leave_the_next_accepted_one_as_it_would_have_been(
    server: RunningServer, new_model: ModelFactory
) -> None:
    calm, shaken = new_model(), new_model()
    good = {"hidden_states": _ROWS.tolist()}
    bad = {"hidden_states": [[3e38] * 8], "loss": "reconstruction"}
    for model, bodies in ((calm, [good, good]), (shaken, [bad, good, bad, good, bad])):
        for body in bodies:
            server.http.post(f"/models/{model}/train-step", json=body)
    assert _state(server, calm) | {"model": ""} == _state(server, shaken) | {"model": ""}


def test_a_loss_in_the_query_is_for_binary_bodies_only(server: RunningServer) -> None:
    body = {"hidden_states": [[1] * 8]}
    answer = server.http.post("/train-step?loss=similarity", json=body)
    assert_canonical(answer, 422, "unknown_field")


def test_npy_is_no_train_step(server: RunningServer) -> None:
    answer = server.http.post(
        "/train-step", content=as_npy(_ROWS), headers={"content-type": "application/x-npy"}
    )
    assert_canonical(answer, 415, "unsupported_media_type")
