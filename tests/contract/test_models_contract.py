"""/models: list, describe, create, delete, checkpoint, versions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from tests.conftest import MODELS, ModelFactory, ServerFactory
from tests.contract.wire import SAFETENSORS, encode, reduced_of, some_rows, weights
from tests.problem import assert_canonical
from tests.server import RunningServer, create, declare, serving

_ROWS = some_rows(4, 8)
_BATCH = {"hidden_states": _ROWS.tolist()}
_NEW = "/models/uploaded"


def test_the_list_names_every_model_and_the_default(server: RunningServer) -> None:
    body = server.http.get("/models").json()
    by_name = {model["model"]: model for model in body["models"]}
    assert body.keys() == {"default", "models", "not_loaded"}
    assert (body["default"], body["not_loaded"]) == ("small", {})
    assert by_name.keys() >= MODELS.keys()
    assert list(by_name) == sorted(by_name)
    assert by_name["wide"].keys() == {"model", "version", "digest", "input_size", "n_components"}
    assert (by_name["wide"]["input_size"], by_name["wide"]["n_components"]) == (384, 96)


def test_a_description_says_what_the_model_is_and_where_it_runs(server: RunningServer) -> None:
    body = server.http.get("/models/nested").json()
    assert body["config"]["nested"] is True
    assert body["config"]["layers"] == [{"type": "QRReduction", "n_components": 3}]
    assert (body["model"], body["version"], body["step"]) == ("nested", 1, 0)
    assert (body["serving"], body["retained"], body["device"]) == ("live", [1], "cpu")
    assert (body["device_reason"], body["dtype"]) == ("asked for", "float32")


def test_the_same_config_makes_the_same_model(
    server: RunningServer, new_model: ModelFactory
) -> None:
    first, second = (server.http.get(f"/models/{new_model()}").json() for _ in range(2))
    other = server.http.get(f"/models/{new_model(declare(8, 3, seed=1))}").json()
    assert first["digest"] == second["digest"] != other["digest"]


def test_create_answers_201_and_the_model_serves_at_once(server: RunningServer) -> None:
    answer = server.http.put(_NEW, json=declare(8, 2))
    try:
        reduced = server.http.post(f"{_NEW}/reduce", json=_BATCH)
        assert (answer.status_code, answer.json()["version"]) == (201, 1)
        assert reduced.json()["digest"] == answer.json()["digest"]
        assert reduced.json()["shape"] == [4, 2]
    finally:
        server.http.delete(_NEW)


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
@pytest.mark.parametrize(
    "names",
    [
        ("Q_reduced", None),
        ("Q_reduced", "bias"),
        ("Q", None),
        ("Q", "bias"),
        ("weight", None),
        ("weight", "bias"),
        ("linear.weight", "linear.bias"),
        ("module.Q_reduced", "module.bias"),
        ("encoder.weight", None),
        ("head.linear.weight", "head.linear.bias"),
    ],
    ids=str,
)
def test_uploaded_weights_serve_under_every_known_key(
    server: RunningServer, names: tuple[str, str | None], dtype: str
) -> None:
    matrix, bias = some_rows(3, 8).astype(dtype), np.arange(3, dtype=dtype)
    tensors = {names[0]: matrix} | ({names[1]: bias} if names[1] else {})
    headers = {"content-type": SAFETENSORS}
    created = server.http.put(_NEW, content=save(tensors), headers=headers)
    try:
        assert created.status_code == 201, created.text
        assert (created.json()["input_size"], created.json()["n_components"]) == (8, 3)
        expected = _ROWS @ matrix.T.astype(np.float32) + (bias if names[1] else 0)
        reduced = reduced_of(server.http.post(f"{_NEW}/reduce", **encode(_ROWS, "nested")))
        # float32 sums of 8 products in another order.
        np.testing.assert_allclose(reduced, expected, rtol=0, atol=1e-5)
        assert server.http.post(f"{_NEW}/train-step", json=_BATCH).json()["version"] == 2
    finally:
        server.http.delete(_NEW)


_GOOD = some_rows(3, 8)
_NAN = np.where(np.eye(3, 8) == 1, np.float32("nan"), _GOOD)


@pytest.mark.parametrize(
    ("tensors", "code"),
    [
        ({"projection": _GOOD}, "artifact_incompatible"),
        ({"a.b.weight": _GOOD}, "artifact_incompatible"),
        ({"Q": _GOOD, "weight": _GOOD}, "artifact_incompatible"),
        ({"Q": _GOOD, "extra": _GOOD}, "artifact_incompatible"),
        ({"Q": _GOOD, "other.bias": _GOOD[:, 0].copy()}, "artifact_incompatible"),
        ({"Q": _GOOD[0]}, "artifact_incompatible"),
        ({"Q": _GOOD[None]}, "artifact_incompatible"),
        ({"Q": _GOOD.astype(np.int32)}, "artifact_incompatible"),
        ({"Q": _GOOD, "bias": np.ones(8, np.float32)}, "artifact_incompatible"),
        ({"Q": _GOOD, "bias": _GOOD}, "artifact_incompatible"),
        ({"bias": _GOOD[:, 0].copy()}, "artifact_incompatible"),
        ({"Q": np.empty((0, 8), np.float32)}, "artifact_incompatible"),
        ({"Q": _NAN}, "artifact_invalid"),
        ({"Q": _GOOD.astype(np.float64) * 1e300}, "artifact_invalid"),
        ({}, "artifact_incompatible"),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else value,
)
def test_weights_that_do_not_fit_are_refused_and_nothing_is_made(
    server: RunningServer, tensors: dict[str, Any], code: str
) -> None:
    answer = server.http.put(_NEW, content=save(tensors), headers={"content-type": SAFETENSORS})
    assert_canonical(answer, 422, code)
    assert_canonical(server.http.get(_NEW), 404, "model_not_found")
    assert not (server.models_dir / "uploaded").exists()


@pytest.mark.parametrize(
    ("document", "pointer"),
    [
        ({}, "/input_size"),
        ({"input_size": 8}, "/layers"),
        ({"input_size": 8, "layers": []}, "/layers"),
        (declare(0, 3), "/input_size"),
        (declare(65_537, 3), "/input_size"),
        (declare(8, 0), "/layers/0/n_components"),
        (declare(8, 9), "/layers/0/n_components"),
        (declare(8, 3, layer={"init": "lucky"}), "/layers/0/init"),
        (declare(8, 3, layer={"parametrization": "cubic"}), "/layers/0/parametrization"),
        (declare(8, 3, layer={"bias": "yes"}), "/layers/0/bias"),
        (declare(8, 3, layer={"depth": 2}), "/layers/0/depth"),
        ({"input_size": 8, "layers": [{"type": "Linears"}]}, "/layers/0/type"),
        ({"input_size": 8, "layers": [{"type": "Linear"}]}, "/layers/0/out_features"),
        (declare(8, 3, loss="huber"), "/loss/type"),
        (declare(8, 3, optimizer={"type": "Adams"}), "/optimizer/type"),
        (declare(8, 3, optimizer={"type": "SGD", "lr": -1}), "/optimizer/lr"),
        (declare(8, 3, optimizer={"type": "SGD", "speed": 1}), "/optimizer/speed"),
        (declare(8, 3, nested="yes"), "/nested"),
        (declare(8, 3, recipe="distilled"), "/recipe"),
        (declare(8, 3, layer={"bias": True}, recipe="distil"), "/recipe"),
        (declare(8, 3, surprise=1), "/surprise"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_config_that_cannot_be_is_refused_with_its_pointer(
    server: RunningServer, document: dict[str, Any], pointer: str
) -> None:
    body = assert_canonical(server.http.put(_NEW, json=document), 422, "config_invalid")
    assert body["errors"] == [{"pointer": pointer, "message": body["detail"]}]
    assert not (server.models_dir / "uploaded").exists()


def test_a_taken_name_is_a_conflict_and_the_model_stays(server: RunningServer) -> None:
    before = server.http.get("/models/small").json()
    answer = server.http.put("/models/small", json=declare(8, 2))
    assert_canonical(answer, 409, "model_exists")
    assert server.http.get("/models/small").json() == before


def test_deleted_means_404_everywhere_and_the_name_is_free_again(server: RunningServer) -> None:
    create(server, "brief", MODELS["small"])
    gone = server.http.delete("/models/brief")
    assert (gone.status_code, gone.content) == (204, b"")
    for method, path, body in (
        ("GET", "", None),
        ("GET", "/state", None),
        ("GET", "/versions", None),
        ("GET", "/versions/1", None),
        ("POST", "/versions", None),
        ("POST", "/reduce", _BATCH),
        ("POST", "/train-step", _BATCH),
        ("DELETE", "", None),
    ):
        answer = server.http.request(method, f"/models/brief{path}", json=body)
        assert_canonical(answer, 404, "model_not_found")
    assert not (server.models_dir / "brief").exists()
    create(server, "brief", declare(8, 2))
    server.http.delete("/models/brief").raise_for_status()


def test_a_checkpoint_on_request_is_a_retained_version(
    server: RunningServer, new_model: ModelFactory
) -> None:
    path = f"/models/{new_model()}"
    step = server.http.post(f"{path}/train-step", json=_BATCH).json()
    state = server.http.get(f"{path}/state").json()
    made = server.http.post(f"{path}/versions")
    again = server.http.post(f"{path}/versions")
    versions = server.http.get(f"{path}/versions").json()
    assert (made.status_code, made.json()["version"], again.json()) == (201, 2, made.json())
    assert [(v["version"], v["origin"], v["step"]) for v in versions] == [
        (1, "initial", 0),
        (2, "checkpoint", 1),
    ]
    assert versions[1]["digest"] == step["digest"]
    assert versions[1]["state_digest"] == state["state_digest"]
    assert server.http.get(f"{path}/versions/2").json() == versions[1]
    assert server.http.get(path).json()["retained"] == [1, 2]


def test_a_retained_version_is_what_is_on_disk(
    server: RunningServer, new_model: ModelFactory
) -> None:
    model = new_model()
    for _ in range(2):
        server.http.post(f"/models/{model}/train-step", json=_BATCH).raise_for_status()
        server.http.post(f"/models/{model}/versions").raise_for_status()
    for version in (1, 2, 3):
        body = {**_BATCH, "version": version}
        answer = server.http.post(f"/models/{model}/reduce", json=body)
        expected = _ROWS @ weights(server, model, version).T
        # float32 sums of 8 products in another order.
        np.testing.assert_allclose(reduced_of(answer), expected, rtol=0, atol=5e-6)
        described = server.http.get(f"/models/{model}/versions/{version}").json()
        assert answer.json()["digest"] == described["digest"]


@pytest.mark.parametrize("version", ["0", "2", "99", "999999999999999999"])
def test_a_version_that_is_not_retained_names_the_nearest(
    server: RunningServer, version: str
) -> None:
    answer = server.http.get(f"/models/small/versions/{version}")
    assert_canonical(answer, 404, "version_not_retained", detail="nearest retained: 1")


@pytest.mark.parametrize("version", ["-1", "one", "1.0", "9" * 5000, "%D9%A1", "1%0A", "+1"])
def test_what_is_no_version_number_is_refused(server: RunningServer, version: str) -> None:
    answer = server.http.get(f"/models/small/versions/{version}")
    assert_canonical(answer, 422, "wrong_type")


def test_what_was_learned_is_there_after_a_restart(
    start_server: ServerFactory, tmp_path: Path
) -> None:
    with serving(tmp_path) as first:
        create(first, "small", MODELS["small"])
        first.http.post("/train-step", json=_BATCH).raise_for_status()
        before = first.http.get("/models/small/state").json()
    after = start_server(tmp_path).http.get("/models/small/state").json()
    assert after == before | {"checkpoint": 2, "journal_bytes": after["journal_bytes"]}
