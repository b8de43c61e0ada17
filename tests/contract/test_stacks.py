"""Models of several layers over HTTP: shapes, branches, running statistics, refusals."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load, save

from app.client import Client
from app.errors import Unacceptable
from tests.contract.wire import SAFETENSORS, reduced_of, some_rows
from tests.problem import assert_canonical
from tests.server import Config, RunningServer, create, serving

_LINEAR = {"type": "Linear", "out_features": 2}
_WIDENING = [{"type": "Linear", "out_features": 65_536}]
_LAYERS: dict[str, list[dict[str, Any]]] = {
    "deep": [
        {"type": "Linear", "out_features": 16, "bias": False},
        {"type": "LayerNorm"},
        {"type": "GELU"},
        {"type": "QRReduction", "n_components": 3, "parametrization": "qr"},
    ],
    "normed": [
        {"type": "Linear", "out_features": 4},
        {"type": "BatchNorm1d"},
        {"type": "ReLU"},
        {"type": "Dropout", "p": 0.25},
        _LINEAR,
    ],
    "squashed": [{"type": "Sigmoid"}, _LINEAR],
    "branched": [
        {"type": "RMSNorm"},
        {"type": "ModuleDict", "branches": {"news": [_LINEAR], "code": [_LINEAR]}},
    ],
}
_TOKENS: Config = {
    "input_size": 8,
    "input_shape": [None, 8],
    "recipe": "plain",
    "layers": [{"type": "LayerNorm"}, _LINEAR],
}
_ROWS = some_rows(5, 8)
_BATCH = {"hidden_states": _ROWS.tolist()}
_QR = {"type": "QRReduction", "n_components": 2}
_MSE = {**_BATCH, "loss": "mse", "targets": [[0.0, 0.0]] * 5}
_MATRIX = np.ones((2, 8))
_REPLACING = {"Content-Type": SAFETENSORS, "If-Match": "*"}


def _declare(name: str) -> Config:
    return {"input_size": 8, "recipe": "plain", "layers": _LAYERS[name]}


def _create_all(server: RunningServer) -> None:
    for name in _LAYERS:
        create(server, name, _declare(name))
    create(server, "tokens", _TOKENS)


@pytest.fixture(scope="module")
def stacks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One server for the tests that only read."""
    with serving(tmp_path_factory.mktemp("models")) as running:
        _create_all(running)
        yield running


def test_a_description_tells_shapes_and_what_has_no_effect(stacks: RunningServer) -> None:
    normed, tokens = (stacks.http.get(f"/models/{name}").json() for name in ("normed", "tokens"))
    assert (normed["input_shape"], normed["output_shape"]) == ([8], [2])
    assert [warning.split(":")[0] for warning in normed["warnings"]] == ["/layers/0/bias"]
    assert (tokens["input_shape"], tokens["output_shape"]) == ([None, 8], [None, 2])
    assert tokens["warnings"] == []


@pytest.mark.parametrize("name", ["deep", "normed", "branched"])
@pytest.mark.parametrize("leading", [(), (1,), (5,), (2, 3)])
def test_leading_dimensions_come_back(
    stacks: RunningServer, name: str, leading: tuple[int, ...]
) -> None:
    rows = some_rows(6, 8)[: int(np.prod(leading))].reshape(*leading, 8)
    answer = stacks.http.post(f"/models/{name}/reduce", json={"hidden_states": rows.tolist()})
    width = 3 if name == "deep" else 2
    assert answer.json()["shape"] == [*leading, width]
    alone = stacks.http.post(
        f"/models/{name}/reduce", json={"hidden_states": rows.reshape(-1, 8)[:1].tolist()}
    )
    np.testing.assert_allclose(
        np.reshape(answer.json()["reduced"], (-1, width))[:1], reduced_of(alone), atol=1e-6
    )


@pytest.mark.parametrize("length", [1, 7])
@pytest.mark.parametrize("leading", [(), (3,), (2, 2)])
def test_rows_may_be_of_any_length_where_the_config_says_so(
    stacks: RunningServer, leading: tuple[int, ...], length: int
) -> None:
    rows = some_rows(int(np.prod(leading)) * length, 8).reshape(*leading, length, 8)
    answer = stacks.http.post("/models/tokens/reduce", json={"hidden_states": rows.tolist()})
    assert answer.json()["shape"] == [*leading, length, 2]


def test_a_branch_is_chosen_in_json_and_in_the_query(stacks: RunningServer) -> None:
    path = "/models/branched/reduce"
    first = reduced_of(stacks.http.post(path, json=_BATCH))
    news, code = (
        reduced_of(stacks.http.post(path, json={**_BATCH, "branch": name}))
        for name in ("news", "code")
    )
    body, kind = save({"hidden_states": _ROWS}), {"Content-Type": SAFETENSORS}
    asked = stacks.http.post(f"{path}?branch=code", content=body, headers=kind)
    assert np.array_equal(first, news)
    assert not np.allclose(news, code)
    assert np.array_equal(reduced_of(asked), code)


def test_a_branch_is_chosen_in_the_open_inference_protocol_too(stacks: RunningServer) -> None:
    rows = {"name": "hidden_states", "shape": [5, 8], "datatype": "FP32", "data": _ROWS.tolist()}
    asked = {
        name: stacks.http.post(
            "/v2/models/branched/infer", json={"inputs": [rows], "parameters": {"branch": name}}
        ).json()
        for name in ("code", "x")
    }
    code = stacks.http.post("/models/branched/reduce", json={**_BATCH, "branch": "code"})
    data = np.float32(asked["code"]["outputs"][0]["data"])
    assert np.array_equal(data, np.ravel(reduced_of(code)))
    assert "one of: news, code" in asked["x"]["error"]


def test_the_client_chooses_a_branch_too(stacks: RunningServer) -> None:
    create(stacks, "asked", _declare("branched"))
    with Client(stacks.url, "asked") as client:
        news, code = (client.reduce(_ROWS, branch=name).array for name in ("news", "code"))
        step = client.train_step(_ROWS, branch="code")
    asked = {**_BATCH, "branch": "code", "version": 1}
    assert step.version == 2
    assert not np.allclose(news, code)
    assert np.array_equal(reduced_of(stacks.http.post("/models/asked/reduce", json=asked)), code)


def test_the_client_looks_at_one_branch(stacks: RunningServer) -> None:
    with Client(stacks.url, "branched") as client:
        expected = client.reduce(_ROWS, branch="code").array
        looked = client.jvp(_ROWS, _ROWS, branch="code").reduced
        with pytest.raises(Unacceptable) as refused:
            client.evaluate(_ROWS, branch="x")
    np.testing.assert_allclose(looked, expected, atol=1e-6)
    assert refused.value.code == "unknown_branch"


@pytest.mark.parametrize(
    ("path", "body", "code", "message"),
    [
        ("branched/reduce", {**_BATCH, "branch": "x"}, "unknown_branch", "one of: news, code"),
        ("branched/train-step", {**_BATCH, "branch": "x"}, "unknown_branch", "one of: news, code"),
        ("branched/train-step", {**_BATCH, "branch": 1}, "wrong_type", "the name of a branch"),
        ("deep/reduce", {**_BATCH, "branch": "news"}, "unknown_branch", "have no branches"),
        ("deep/reduce", {"hidden_states": [[1.0]]}, "shape_mismatch", "expected width 8"),
        ("tokens/reduce", {"hidden_states": [1.0] * 8}, "shape_mismatch", "shape (any, 8)"),
        ("tokens/reduce", {"hidden_states": [[[1.0]]]}, "shape_mismatch", "got (1, 1)"),
        ("normed/train-step", {"hidden_states": [[1.0] * 8]}, "too_few_rows", "at least 2 rows"),
    ],
)
def test_what_does_not_fit_the_layers_is_refused(
    stacks: RunningServer, path: str, body: Config, code: str, message: str
) -> None:
    answer = stacks.http.post(f"/models/{path}", json=body)
    assert_canonical(answer, 422, code)
    assert message in answer.json()["detail"]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_layers_that_could_hide_what_is_not_finite_do_not(
    stacks: RunningServer, value: float
) -> None:
    """A sigmoid makes one or zero of an infinity."""
    body = save({"hidden_states": np.full((2, 8), value, np.float32)})
    kind = {"Content-Type": SAFETENSORS}
    answer = stacks.http.post("/models/squashed/reduce", content=body, headers=kind)
    assert_canonical(answer, 422, "non_finite_input")


def test_other_protocols_serve_vectors_and_say_so_of_the_rest(stacks: RunningServer) -> None:
    metadata = stacks.http.get("/v2/models/tokens").json()
    vectors = stacks.http.post("/v1/embeddings", json={"model": "deep", "input": _ROWS.tolist()})
    tokens = stacks.http.post("/v1/embeddings", json={"model": "tokens", "input": _ROWS.tolist()})
    assert metadata["inputs"][0]["shape"] == [-1, -1, 8]
    assert metadata["outputs"][0]["shape"] == [-1, -1, 2]
    assert len(vectors.json()["data"]) == 5
    assert (tokens.status_code, tokens.json()["error"]["code"]) == (400, "vectors_only")


def test_a_config_that_cannot_be_built_is_refused_with_its_pointer(stacks: RunningServer) -> None:
    layers = [{"type": "Sequential", "layers": [{"type": "Dropout", "p": 2}]}, _LINEAR]
    document = {"input_size": 8, "layers": layers}
    answer = stacks.http.put("/models/broken", json=document)
    assert_canonical(answer, 422, "config_invalid")
    assert answer.json()["errors"][0]["pointer"] == "/layers/0/layers/0/p"


@pytest.mark.parametrize("verb", ["reduce", "train-step"])
def test_rows_of_which_the_layers_would_make_too_much_are_refused(
    stacks: RunningServer, verb: str
) -> None:
    create(stacks, f"wide-{verb}", {**_declare("deep"), "layers": _WIDENING})
    rows = some_rows(1025, 8).tolist()
    answer = stacks.http.post(f"/models/wide-{verb}/{verb}", json={"hidden_states": rows})
    assert_canonical(answer, 413, "too_many_rows")


@pytest.mark.parametrize(
    "layers",
    [
        [{"type": "Linear", "out_features": 65_536}, {"type": "Linear", "out_features": 65_536}],
        [{"type": "Unflatten", "dim": 1, "unflattened_size": [8, 1]}] + [_LINEAR] * 128,
    ],
)
def test_a_stack_of_too_many_weights_or_layers_is_refused(
    stacks: RunningServer, layers: list[dict[str, Any]]
) -> None:
    answer = stacks.http.put("/models/broken", json={"input_size": 8, "layers": layers})
    assert_canonical(answer, 422, "config_invalid")


def test_running_statistics_are_part_of_the_digest_and_survive_a_restart(tmp_path: Path) -> None:
    with serving(tmp_path) as first:
        create(first, "normed", _declare("normed"))
        before = first.http.get("/models/normed").json()["digest"]
        made = first.http.post("/models/normed/train-step", json=_MSE).json()
        reduced = reduced_of(first.http.post("/models/normed/reduce", json=_BATCH))
        state = first.http.get("/models/normed/state").json()["state_digest"]
    with serving(tmp_path) as second:
        again = second.http.post("/models/normed/reduce", json=_BATCH)
        assert before != made["digest"] == again.json()["digest"]
        assert np.array_equal(reduced_of(again), reduced)
        assert second.http.get("/models/normed/state").json()["state_digest"] == state


def test_a_branch_is_trained_alone_and_its_layers_only(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        create(server, "branched", _declare("branched"))
        path = "/models/branched/reduce"
        ask = {name: {**_BATCH, "branch": name} for name in ("news", "code")}
        before = {name: reduced_of(server.http.post(path, json=ask[name])) for name in ask}
        layers = server.http.get("/models/branched").json()
        step = server.http.post("/models/branched/train-step", json=ask["code"]).json()
        after = {name: reduced_of(server.http.post(path, json=ask[name])) for name in ask}
    assert (layers["version"], step["version"]) == (1, 2)
    assert not np.allclose(before["code"], after["code"], atol=1e-6)
    np.testing.assert_allclose(before["news"], after["news"], atol=5e-3)  # the norm they share


def test_all_tensors_of_a_stack_take_the_place_of_the_present_ones(tmp_path: Path) -> None:
    """More tensors than a request has, counts of running statistics among them."""
    with serving(tmp_path) as server:
        for name, seed in (("given", 1), ("taken", 2)):
            layers = [*_LAYERS["normed"][:2] * 3, _LINEAR]
            create(server, name, {**_declare("normed"), "layers": layers, "seed": seed})
        server.http.post("/models/given/train-step", json=_MSE).raise_for_status()
        server.http.post("/models/given/versions").raise_for_status()
        weights = (tmp_path / "given/2/model.safetensors").read_bytes()
        answer = server.http.put("/models/taken", content=weights, headers=_REPLACING)
        given, taken = (server.http.get(f"/models/{name}").json() for name in ("given", "taken"))
    assert (answer.status_code, answer.json()["version"]) == (200, 2)
    assert taken["digest"] == given["digest"]


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"Q_reduced": _MATRIX}, "expected tensors 1.bias [2], 1.weight [2, 8], found Q_reduced"),
        ({"1.weight": _MATRIX}, "1.bias [2], 1.weight [2, 8], found 1.weight [2, 8]"),
        ({"1.weight": _MATRIX, "1.bias": _MATRIX[:, 0] * 1e300}, "finite numbers that float32"),
        ({"1.weight": _MATRIX, "1.bias": _MATRIX[:, 0].astype(np.int64)}, "[2] of whole numbers"),
    ],
)
def test_tensors_that_are_not_those_of_a_stack_replace_nothing(
    stacks: RunningServer, tensors: dict[str, Any], message: str
) -> None:
    content = save({name: np.ascontiguousarray(array) for name, array in tensors.items()})
    answer = stacks.http.put("/models/squashed", content=content, headers=_REPLACING)
    assert answer.status_code == 422
    assert message in answer.json()["detail"]
    assert stacks.http.get("/models/squashed").json()["version"] == 1


def test_a_negative_variance_replaces_nothing(stacks: RunningServer) -> None:
    stacks.http.post("/models/normed/versions").raise_for_status()
    tensors = load((stacks.models_dir / "normed/1/model.safetensors").read_bytes())
    content = save({**tensors, "1.running_var": -tensors["1.running_var"]})
    answer = stacks.http.put("/models/normed", content=content, headers=_REPLACING)
    assert_canonical(answer, 422, "artifact_incompatible")
    assert "1.running_var" in answer.json()["detail"]


@pytest.mark.parametrize("kind", [_LINEAR, _QR])
def test_a_mask_that_a_config_gives_stays_zero_in_training(
    stacks: RunningServer, kind: dict[str, Any]
) -> None:
    mask = np.eye(2, 8)
    layer = {**kind, "bias": False, "parametrization": {"type": "sparse", "mask": mask.tolist()}}
    name = f"masked-{kind['type'].lower()}"
    create(stacks, name, {**_declare("deep"), "layers": [layer, {"type": "Tanh"}]})
    stacks.http.post(f"/models/{name}/train-step", json=_MSE).raise_for_status()
    stacks.http.post(f"/models/{name}/versions").raise_for_status()
    (weight,) = load((stacks.models_dir / name / "2/model.safetensors").read_bytes()).values()
    assert np.array_equal(weight != 0, mask != 0)


def test_layers_are_nested_as_deep_as_they_may_be_and_no_deeper(stacks: RunningServer) -> None:
    layer = {**_LINEAR, "parametrization": {"type": "sparse", "mask": np.eye(2, 8).tolist()}}
    for _ in range(7):
        layer = {"type": "ModuleList", "branches": [[layer]]}
    for name, status in (("as-deep", 201), ("deeper", 422)):
        document = {**_declare("deep"), "layers": [layer]}
        answer = stacks.http.put(f"/models/{name}", json=document)
        assert answer.status_code == status
        layer = {"type": "Sequential", "layers": [layer]}
    assert_canonical(answer, 422, "config_invalid")
