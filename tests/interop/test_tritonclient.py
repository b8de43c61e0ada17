"""The unmodified `tritonclient.http`, blocking: the acceptance list of the protocol."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
from numpy.typing import NDArray
from safetensors.numpy import save
from tritonclient.utils import InferenceServerException

from tests.conftest import MODELS
from tests.e2e.process import ServerProcess
from tests.interop.conftest import PYTHON
from tests.interop.tensors import ENCODINGS, FORMS, meant, rows

pytestmark = pytest.mark.interop


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(address) as opened:
        yield opened


def tensor(array: NDArray[Any], datatype: str = "FP32", *, is_binary: bool = True) -> Any:
    made = triton.InferInput("hidden_states", list(array.shape), datatype)
    return made.set_data_from_numpy(array, binary_data=is_binary)


def native(served: httpx.Client, array: NDArray[np.float32], **options: Any) -> NDArray[np.float32]:
    body = {"hidden_states": array.tolist(), **options}
    answer = served.post("/models/small/reduce", json=body).raise_for_status()
    return np.array(answer.json()["reduced"], np.float32)


def reduced(result: Any) -> NDArray[np.float32]:
    array: NDArray[np.float32] = result.as_numpy("reduced")
    assert array.dtype == np.float32
    return array


def test_health_and_metadata(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("small")
    assert client.is_model_ready("small", "1")
    assert not client.is_model_ready("small", "9")
    assert not client.is_model_ready("none")
    metadata = client.get_server_metadata()
    assert metadata["name"] == "slimvec"
    assert "binary_tensor_data" in metadata["extensions"]


@pytest.mark.parametrize("version", ["", "1"])
def test_a_model_says_what_it_takes(client: triton.InferenceServerClient, version: str) -> None:
    metadata = client.get_model_metadata("small", version)
    config = client.get_model_config("small", version)
    assert metadata["inputs"] == [{"name": "hidden_states", "datatype": "FP32", "shape": [-1, 8]}]
    assert metadata["outputs"] == [{"name": "reduced", "datatype": "FP32", "shape": [-1, 3]}]
    assert config["input"] == [{"name": "hidden_states", "data_type": "TYPE_FP32", "dims": [8]}]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("output", [None, True, False])
@pytest.mark.parametrize(("datatype", "is_binary"), FORMS)
def test_every_form_gives_the_same_vectors(
    client: triton.InferenceServerClient, served: httpx.Client,
    datatype: str, is_binary: bool, output: bool | None, encoding: str | None,
) -> None:  # fmt: skip
    array = rows(datatype)
    asked = None if output is None else [triton.InferRequestedOutput("reduced", output)]
    both = {
        "inputs": [tensor(array, datatype, is_binary=is_binary)],
        "outputs": asked,
        "request_compression_algorithm": encoding,
        "response_compression_algorithm": encoding,
    }
    wanted = native(served, meant(array)).tobytes()
    assert reduced(client.infer("small", **both)).tobytes() == wanted
    assert reduced(client.async_infer("small", **both).get_result()).tobytes() == wanted


def test_the_id_comes_back_and_parameters_go_in(
    client: triton.InferenceServerClient, served: httpx.Client
) -> None:
    result = client.infer(
        "small", [tensor(rows())], request_id="no. 7", priority=1, timeout=10**6,
        sequence_id=3, sequence_start=True, parameters={"normalize": True, "mine": "x"},
    )  # fmt: skip
    response = result.get_response()
    assert (response["id"], response["model_name"]) == ("no. 7", "small")
    assert (response["model_version"], len(response["parameters"]["digest"])) == ("1", 16)
    wanted = native(served, rows(), normalize=True)
    assert reduced(result).tobytes() == wanted.tobytes()


def test_a_version_can_be_pinned(
    client: triton.InferenceServerClient, served: httpx.Client
) -> None:
    served.put("/models/trained", json=MODELS["small"]).raise_for_status()
    first = reduced(client.infer("trained", [tensor(rows())]))
    served.post("/models/trained/train-step", json={"hidden_states": rows().tolist()})
    again = client.infer("trained", [tensor(rows())], model_version="1")
    newest = client.infer("trained", [tensor(rows())])
    assert reduced(again).tobytes() == first.tobytes()
    assert newest.get_response()["model_version"] == "2"


@pytest.mark.parametrize("is_binary", [True, False])
@pytest.mark.parametrize("output", [None, True, False])
def test_no_rows_are_an_empty_tensor(
    client: triton.InferenceServerClient, is_binary: bool, output: bool | None
) -> None:
    asked = None if output is None else [triton.InferRequestedOutput("reduced", output)]
    empty = tensor(np.empty((0, 8), np.float32), is_binary=is_binary)
    assert reduced(client.infer("small", [empty], outputs=asked)).shape == (0, 3)


def test_a_large_tensor_goes_both_ways(client: triton.InferenceServerClient) -> None:
    array = rows("FP32", 4000, 384)
    assert reduced(client.infer("wide", [tensor(array)])).shape == (4000, 96)


@pytest.mark.parametrize(
    ("model", "version", "array", "status", "says"),
    [
        ("none", "", rows(), "404", "there is no model"),
        ("small", "9", rows(), "404", "not retained"),
        ("small", "", rows("FP32", 2, 7), "400", "expected width 8"),
        ("small", "", rows() * np.float32("inf"), "400", "finite"),
    ],
)  # fmt: skip
def test_a_refusal_is_an_exception_with_our_text(
    client: triton.InferenceServerClient, model: str, version: str, array: NDArray[np.float32],
    status: str, says: str,
) -> None:  # fmt: skip
    with pytest.raises(InferenceServerException, match=says) as refusal:
        client.infer(model, [tensor(array)], model_version=version)
    assert refusal.value.status() == status


def test_models_are_loaded_and_unloaded(client: triton.InferenceServerClient) -> None:
    client.unload_model("nested")
    assert not client.is_model_ready("nested")
    entries = {entry["name"]: entry for entry in client.get_model_repository_index()}
    assert (entries["nested"]["state"], entries["nested"]["reason"]) == ("UNAVAILABLE", "unloaded")
    with pytest.raises(InferenceServerException, match="unloaded") as refusal:
        client.infer("nested", [tensor(rows())])
    assert refusal.value.status() == "503"
    client.load_model("nested")
    assert client.is_model_ready("nested")


def test_a_model_is_made_of_files(client: triton.InferenceServerClient) -> None:
    matrix, config = np.eye(3, 8, dtype=np.float32), json.dumps(MODELS["small"])
    for sign, version in ((1, "1"), (-1, "2")):
        files = {"file:1/model.safetensors": save({"Q_reduced": sign * matrix})}
        client.load_model("filed", config=config, files=files)
        result = client.infer("filed", [tensor(rows())])
        assert result.get_response()["model_version"] == version
        assert reduced(result).tolist() == (sign * rows()[:, :3]).tolist()
    with pytest.raises(InferenceServerException, match="config") as refusal:
        client.load_model("unconfigured", files=files)
    assert refusal.value.status() == "400"


def test_statistics_count(client: triton.InferenceServerClient, served: httpx.Client) -> None:
    served.put("/models/counted", json=MODELS["small"]).raise_for_status()
    client.infer("counted", [tensor(rows())])
    (counted,) = client.get_inference_statistics("counted", "1")["model_stats"]
    assert (counted["inference_count"], counted["execution_count"]) == (5, 1)
    assert counted["inference_stats"]["success"]["count"] == 1
    everything = client.get_inference_statistics()["model_stats"]
    assert "counted" in {model["name"] for model in everything}


def test_what_is_not_offered_says_so(client: triton.InferenceServerClient) -> None:
    assert client.get_system_shared_memory_status() == []
    assert client.get_cuda_shared_memory_status() == []
    client.unregister_system_shared_memory()
    client.unregister_cuda_shared_memory("region")
    for ask in (
        client.get_log_settings,
        client.get_trace_settings,
        lambda: client.register_system_shared_memory("region", "/key", 4),
    ):
        with pytest.raises(InferenceServerException, match="offered") as refusal:
            ask()
        assert refusal.value.status() == "501"


def test_a_full_server_says_so(tmp_path: Any) -> None:
    flags = ("--default-model", "small", "--max-concurrent-requests", "1")
    with ServerProcess(tmp_path, *flags, python=PYTHON) as process:
        process.client.put("/models/small", json=MODELS["small"]).raise_for_status()
        url = process.client.base_url
        head = f"POST /reduce HTTP/1.1\r\nHost: {url.host}\r\nContent-Type: application/json\r\n"
        with socket.create_connection((url.host, url.port or 0)) as busy:
            busy.sendall(f"{head}Content-Length: 9\r\nExpect: 100-continue\r\n\r\n".encode())
            assert b"100" in busy.recv(100)  # the server waits for the body: this one is in flight
            with (
                triton.InferenceServerClient(f"{url.host}:{url.port}") as client,
                pytest.raises(InferenceServerException, match="in flight") as refusal,
            ):
                client.infer("small", [tensor(rows())])
            assert refusal.value.status() == "429"
