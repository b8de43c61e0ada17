"""Models whose rows are ids: integers in every form of a body, and what a float model says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from safetensors.numpy import save
from websockets.sync.client import connect

from tests.contract.inference_wire import Inference, infer, refusal_of
from tests.contract.inference_wire import reduced_of as inferred
from tests.contract.wire import NPY, SAFETENSORS, Array, encode, reduced_of
from tests.problem import assert_canonical
from tests.server import Config, RunningServer, create, declare, serving
from tests.stream import FRAMES, frame

IDS = np.array([[1, 2, 3], [49, 0, 7]])
TARGETS = np.ones((2, 4), np.float32)
CONFIG: Config = {
    "input_size": 3,
    "layers": [{"type": "EmbeddingBag", "num_embeddings": 50, "embedding_dim": 4}],
    "recipe": "plain",
    "loss": "mse",
}
INTEGERS = ("int64", "int32")
BINARY = ("base64", NPY, SAFETENSORS)
DATATYPES = {"int64": "INT64", "int32": "INT32", "float32": "FP32"}


@pytest.fixture(scope="module")
def ids(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with models of ids, and one of numbers."""
    with serving(tmp_path_factory.mktemp("models")) as running:
        for name in ("ids", "learning", "twin"):
            create(running, name, CONFIG)
        create(running, "numbers", declare(3, 2))
        yield running


@pytest.fixture(scope="module")
def expected(ids: RunningServer) -> Array:
    return reduced_of(ids.http.post("/models/ids/reduce", **encode(IDS, "nested")))


def inference(array: Array, *, is_binary: bool) -> Inference:
    tensor: dict[str, Any] = {
        "name": "hidden_states",
        "shape": array.shape,
        "datatype": DATATYPES[array.dtype.name],
    }
    if not is_binary:
        tensor["data"] = array.tolist()
        return Inference(json.dumps({"inputs": [tensor]}).encode(), None)
    tensor["parameters"] = {"binary_data_size": array.nbytes}
    head = json.dumps({"inputs": [tensor]}).encode()
    return Inference(head + array.tobytes(), len(head))


def step(array: Array) -> dict[str, Array]:
    return {"hidden_states": array, "targets": TARGETS}


@pytest.mark.parametrize("form", BINARY)
@pytest.mark.parametrize("dtype", [*INTEGERS, "float32"])
def test_ids_may_come_as_integers(
    ids: RunningServer, expected: Array, form: str, dtype: str
) -> None:
    answer = ids.http.post("/models/ids/reduce", **encode(IDS.astype(dtype), form))
    np.testing.assert_array_equal(reduced_of(answer), expected)


@pytest.mark.parametrize("is_binary", [True, False])
@pytest.mark.parametrize("dtype", [*INTEGERS, "float32"])
def test_so_they_may_in_the_inference_protocol(
    ids: RunningServer, expected: Array, is_binary: bool, dtype: str
) -> None:
    request = inference(IDS.astype(dtype), is_binary=is_binary)
    np.testing.assert_array_equal(inferred(infer(ids, request, "ids")), expected)


def test_the_inference_protocol_is_told_what_a_model_takes(
    ids: RunningServer, expected: Array
) -> None:
    told = {name: ids.http.get(f"/v2/models/{name}").json() for name in ("ids", "numbers")}
    datatypes = [told[name]["inputs"][0]["datatype"] for name in told]
    assert datatypes == ["INT64", "FP32"]
    assert told["ids"]["outputs"][0]["datatype"] == "FP32"
    config = ids.http.get("/v2/models/ids/config").json()
    assert (config["input"][0]["data_type"], config["output"][0]["data_type"]) == (
        "TYPE_INT64",
        "TYPE_FP32",
    )
    raw = Inference(IDS.astype("<i8").tobytes(), 0)
    np.testing.assert_array_equal(inferred(infer(ids, raw, "ids")), expected)


@pytest.mark.parametrize("form", BINARY)
@pytest.mark.parametrize("dtype", INTEGERS)
def test_a_model_of_numbers_refuses_them(ids: RunningServer, form: str, dtype: str) -> None:
    answer = ids.http.post("/models/numbers/reduce", **encode(IDS.astype(dtype), form))
    assert_canonical(answer, 422, "unsupported_dtype")
    inferred_answer = infer(ids, inference(IDS.astype(dtype), is_binary=True), "numbers")
    assert refusal_of(inferred_answer) == (400, "unsupported_dtype")


@pytest.mark.parametrize("form", BINARY)
@pytest.mark.parametrize("dtype", ["uint8", "bool"])
def test_ids_are_of_the_two_integer_dtypes_only(ids: RunningServer, form: str, dtype: str) -> None:
    answer = ids.http.post("/models/ids/reduce", **encode(IDS.astype(dtype), form))
    assert_canonical(answer, 422, "unsupported_dtype")


@pytest.mark.parametrize("form", BINARY)
@pytest.mark.parametrize("value", [2**24 + 1, 50, -1])
def test_numbers_that_stand_for_no_vector_are_refused(
    ids: RunningServer, form: str, value: int
) -> None:
    array = np.array([[1, 2, value]])
    answer = ids.http.post("/models/ids/reduce", **encode(array, form))
    assert_canonical(answer, 422, "out_of_range")


def post(server: RunningServer, path: str, arrays: dict[str, Array]) -> httpx.Response:
    return server.http.post(path, content=save(arrays), headers={"content-type": SAFETENSORS})


@pytest.mark.parametrize("verb", ["evaluate", "train-step"])
def test_a_model_learns_and_is_judged_by_them_too(ids: RunningServer, verb: str) -> None:
    integers, floats = (
        post(ids, f"/models/{name}/{verb}", step(IDS.astype(dtype)))
        for name, dtype in {"learning": "int64", "twin": "float32"}.items()
    )
    assert (integers.status_code, floats.status_code) == (200, 200), integers.text
    assert integers.json()["digest"] == floats.json()["digest"]
    refused = post(ids, f"/models/numbers/{verb}", {"hidden_states": IDS})
    assert_canonical(refused, 422, "unsupported_dtype")


def test_records_of_streams_may_hold_them(ids: RunningServer) -> None:
    target = "/models/learning/train-stream"
    frames = ids.http.post(
        target, content=frame(hidden_states=IDS, targets=TARGETS), headers={"content-type": FRAMES}
    )
    assert json.loads(frames.content)["ack"] == 1
    with connect(ids.url.replace("http", "ws") + target) as socket:
        socket.send(save(step(IDS)))
        assert json.loads(socket.recv())["ack"] == 1
