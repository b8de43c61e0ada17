"""What may stand beside hidden_states in POST /reduce, in JSON and in the query."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from tests.conftest import ModelFactory
from tests.contract.wire import JSON, NPY, SAFETENSORS, encode, reduced_of, some_rows
from tests.problem import assert_canonical
from tests.server import RunningServer


def test_base64_encoding_equals_floats_bit_for_bit(server: RunningServer) -> None:
    request = encode(some_rows(5, 384), "base64")["json"]
    floats = server.http.post("/models/wide/reduce", json=request)
    octets = server.http.post("/models/wide/reduce", json={**request, "encoding": "base64"})
    assert octets.json()["reduced"].keys() == {"shape", "dtype", "data"}
    assert octets.json()["reduced"]["dtype"] == "float32"
    assert reduced_of(octets).tobytes() == reduced_of(floats).tobytes()


def test_normalize_divides_by_the_norm_and_leaves_a_zero_row(server: RunningServer) -> None:
    rows = some_rows(3, 8)
    rows[1] = 0
    request = encode(rows, "nested")["json"]
    plain = reduced_of(server.http.post("/reduce", json=request))
    unit = reduced_of(server.http.post("/reduce", json={**request, "normalize": True}))
    norms = np.linalg.norm(plain, axis=-1, keepdims=True)
    np.testing.assert_allclose(unit, plain / np.where(norms > 0, norms, 1), rtol=1e-6)
    assert not unit[1].any()


def test_dimensions_keeps_the_first_components_before_normalize(server: RunningServer) -> None:
    request = encode(some_rows(4, 8), "nested")["json"]
    path = "/models/nested/reduce"
    whole = reduced_of(server.http.post(path, json=request))
    first = reduced_of(server.http.post(path, json={**request, "dimensions": 2}))
    unit = reduced_of(server.http.post(path, json={**request, "dimensions": 2, "normalize": True}))
    assert first.tobytes() == whole[:, :2].tobytes()
    np.testing.assert_allclose(np.linalg.norm(unit, axis=-1), 1, rtol=1e-6)


@pytest.mark.parametrize(
    ("model", "dimensions", "code"),
    [
        ("small", 2, "dimensions_unsupported"),
        ("small", 3, "dimensions_unsupported"),
        ("nested", 0, "out_of_range"),
        ("nested", -1, "out_of_range"),
        ("nested", 4, "out_of_range"),
        ("nested", 2**62, "out_of_range"),
        ("nested", 1.5, "wrong_type"),
        ("nested", True, "wrong_type"),
        ("nested", "2", "wrong_type"),
    ],
)
def test_dimensions_that_cannot_be_are_refused(
    server: RunningServer, model: str, dimensions: object, code: str
) -> None:
    request = {"hidden_states": [[1] * 8], "dimensions": dimensions}
    answer = server.http.post(f"/models/{model}/reduce", json=request)
    body = assert_canonical(answer, 422, code)
    assert body["errors"] == [{"pointer": "/dimensions", "message": body["detail"]}]


@pytest.mark.parametrize(
    ("options", "status", "code"),
    [
        ({"version": 0}, 422, "out_of_range"),
        ({"version": 2**63}, 422, "out_of_range"),
        ({"version": "1"}, 422, "wrong_type"),
        ({"version": True}, 422, "wrong_type"),
        ({"version": 1.0}, 422, "wrong_type"),
        ({"version": [1]}, 422, "wrong_type"),
        ({"version": {"a": 1}}, 422, "wrong_type"),
        ({"version": 2}, 404, "version_not_retained"),
        ({"require_version": 2}, 412, "version_mismatch"),
        ({"require_version": "live"}, 422, "wrong_type"),
        ({"normalize": 1}, 422, "wrong_type"),
        ({"normalize": "true"}, 422, "wrong_type"),
        ({"normalize": None}, 422, "wrong_type"),
        ({"encoding": "hex"}, 422, "out_of_range"),
        ({"encoding": 1}, 422, "out_of_range"),
    ],
    ids=str,
)
def test_an_option_that_cannot_be_is_refused(
    server: RunningServer, options: dict[str, Any], status: int, code: str
) -> None:
    answer = server.http.post("/reduce", json={"hidden_states": [[1] * 8], **options})
    assert_canonical(answer, status, code)


def test_a_version_can_be_asked_for_required_or_left_to_be_live(
    server: RunningServer, new_model: ModelFactory
) -> None:
    path = f"/models/{new_model()}"
    rows = encode(some_rows(4, 8), "nested")["json"]
    first = server.http.post(f"{path}/reduce", json=rows).json()
    assert server.http.post(f"{path}/train-step", json=rows).json()["version"] == 2
    live = server.http.post(f"{path}/reduce", json=rows).json()
    assert (first["version"], live["version"]) == (1, 2)
    assert first["digest"] != live["digest"]
    for options, expected in (
        ({"version": 1}, first),
        ({"version": 2}, live),
        ({"version": "live"}, live),
        ({"require_version": 2}, live),
        ({"version": 1, "require_version": 1}, first),
    ):
        assert server.http.post(f"{path}/reduce", json=rows | options).json() == expected
    stale = server.http.post(f"{path}/reduce", json=rows | {"require_version": 1})
    assert_canonical(stale, 412, "version_mismatch")


@pytest.mark.parametrize("form", [NPY, SAFETENSORS])
@pytest.mark.parametrize(
    "options",
    [
        {"normalize": True},
        {"dimensions": 2},
        {"dimensions": 2, "normalize": True},
        {"version": 1, "require_version": 1},
        {"version": "live"},
    ],
    ids=str,
)
def test_query_options_of_a_binary_body_mean_what_json_fields_mean(
    server: RunningServer, form: str, options: dict[str, Any]
) -> None:
    path, rows = "/models/nested/reduce", some_rows(4, 8)
    query = {name: str(value).lower() for name, value in options.items()}
    binary = server.http.post(path, params=query, **encode(rows, form))
    plain = server.http.post(path, json={**encode(rows, "nested")["json"], **options})
    assert reduced_of(binary).tobytes() == reduced_of(plain).tobytes()


def test_encoding_applies_to_a_json_answer_of_a_binary_body(server: RunningServer) -> None:
    headers = {"content-type": SAFETENSORS, "accept": JSON}
    body = save({"hidden_states": some_rows(2, 8)})
    answer = server.http.post("/reduce?encoding=base64", headers=headers, content=body)
    assert answer.json()["reduced"].keys() == {"shape", "dtype", "data"}


@pytest.mark.parametrize(
    ("query", "form", "status", "code"),
    [
        ("surprise=1", NPY, 422, "unknown_field"),
        ("loss=mse", NPY, 422, "unknown_field"),
        ("normalize=true", "nested", 422, "unknown_field"),
        ("normalize=true&normalize=true", NPY, 400, "duplicate_key"),
        ("version=1&version=2", SAFETENSORS, 400, "duplicate_key"),
        ("normalize=perhaps", NPY, 422, "wrong_type"),
        ("version=newest", NPY, 422, "wrong_type"),
        ("version=", NPY, 422, "wrong_type"),
        ("version=0", NPY, 422, "out_of_range"),
        ("dimensions=1e1", NPY, 422, "wrong_type"),
    ],
)
def test_a_query_that_cannot_be_is_refused(
    server: RunningServer, query: str, form: str, status: int, code: str
) -> None:
    answer = server.http.post(f"/reduce?{query}", **encode(some_rows(1, 8), form))
    assert_canonical(answer, status, code)
