"""The unmodified `tritonclient.http.aio`: the same list, asynchronously."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias, TypeVar

import httpx
import numpy as np
import pytest
import tritonclient.http.aio as triton
from numpy.typing import NDArray
from safetensors.numpy import save
from tritonclient.utils import InferenceServerException

from tests.conftest import MODELS
from tests.interop.tensors import ENCODINGS, FORMS, meant, rows

pytestmark = [
    pytest.mark.interop,
    # For a probe the client looks at the status alone, and never gives the connection back.
    pytest.mark.filterwarnings("ignore:Unclosed connection:ResourceWarning"),
]

T = TypeVar("T")
Client: TypeAlias = Any  # the package has no types that mypy sees here


def ask(address: str, question: Callable[[Client], Awaitable[T]]) -> T:
    async def asked() -> T:
        async with triton.InferenceServerClient(address) as client:
            return await question(client)

    try:
        return asyncio.run(asked())
    finally:
        gc.collect()  # what the client left open is reported here, and not in somebody else's test


def tensor(array: NDArray[Any], datatype: str = "FP32", *, is_binary: bool = True) -> Any:
    made = triton.InferInput("hidden_states", list(array.shape), datatype)
    return made.set_data_from_numpy(array, binary_data=is_binary)


def refused(address: str, question: Callable[[Client], Awaitable[Any]]) -> tuple[str, str]:
    with pytest.raises(InferenceServerException) as refusal:
        ask(address, question)
    return str(refusal.value.status()), str(refusal.value.message())


def test_health_and_metadata(address: str) -> None:
    async def questions(client: Client) -> list[Any]:
        return [
            await client.is_server_live(),
            await client.is_server_ready(),
            await client.is_model_ready("small"),
            await client.is_model_ready("small", "1"),
            not await client.is_model_ready("none"),
            (await client.get_server_metadata())["name"] == "slimvec",
            (await client.get_model_metadata("small", "1"))["versions"] == ["1"],
            (await client.get_model_config("small"))["backend"] == "slimvec",
        ]

    assert all(ask(address, questions))


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("output", [None, True, False])
@pytest.mark.parametrize(("datatype", "is_binary"), FORMS)
def test_every_form_gives_the_same_vectors(
    address: str, served: httpx.Client,
    datatype: str, is_binary: bool, output: bool | None, encoding: str | None,
) -> None:  # fmt: skip
    array = rows(datatype)
    asked = None if output is None else [triton.InferRequestedOutput("reduced", output)]

    async def infer(client: Client) -> Any:
        return await client.infer(
            "small",
            [tensor(array, datatype, is_binary=is_binary)],
            outputs=asked,
            request_compression_algorithm=encoding,
            response_compression_algorithm=encoding,
        )

    answer = served.post("/models/small/reduce", json={"hidden_states": meant(array).tolist()})
    wanted = np.array(answer.json()["reduced"], np.float32)
    assert ask(address, infer).as_numpy("reduced").tobytes() == wanted.tobytes()


def test_id_parameters_and_version(address: str) -> None:
    async def infer(client: Client) -> Any:
        return await client.infer(
            "nested", [tensor(rows())], model_version="1", request_id="7",
            parameters={"dimensions": 2, "mine": True},
        )  # fmt: skip

    result = ask(address, infer)
    response = result.get_response()
    assert (response["id"], response["model_version"]) == ("7", "1")
    assert result.as_numpy("reduced").shape == (5, 2)


@pytest.mark.parametrize("is_binary", [True, False])
def test_no_rows_are_an_empty_tensor(address: str, is_binary: bool) -> None:
    empty = tensor(np.empty((0, 8), np.float32), is_binary=is_binary)
    result = ask(address, lambda client: client.infer("small", [empty]))
    assert result.as_numpy("reduced").shape == (0, 3)


@pytest.mark.parametrize(
    ("model", "array", "status", "says"),
    [
        ("none", rows(), "404", "there is no model"),
        ("small", rows("FP32", 2, 7), "400", "expected width 8"),
    ],
)
def test_a_refusal_is_an_exception_with_our_text(
    address: str, model: str, array: NDArray[np.float32], status: str, says: str
) -> None:
    got, message = refused(address, lambda client: client.infer(model, [tensor(array)]))
    assert got == status
    assert says in message


def test_the_repository(address: str) -> None:
    files = {"file:1/model.safetensors": save({"Q_reduced": np.eye(3, 8, dtype=np.float32)})}

    async def change(client: Client) -> list[Any]:
        await client.load_model("aio", config=json.dumps(MODELS["small"]), files=files)
        result = await client.infer("aio", [tensor(rows())])
        await client.unload_model("aio")
        index = await client.get_model_repository_index()
        (state,) = (entry["state"] for entry in index if entry["name"] == "aio")
        return [result.as_numpy("reduced").tolist(), state]

    assert ask(address, change) == [rows()[:, :3].tolist(), "UNAVAILABLE"]
    status, message = refused(address, lambda client: client.infer("aio", [tensor(rows())]))
    assert (status, "unloaded" in message) == ("503", True)
    ask(address, lambda client: client.load_model("aio"))
    assert ask(address, lambda client: client.is_model_ready("aio"))


def test_statistics_count(address: str) -> None:
    async def count(client: Client) -> int:
        (counted,) = (await client.get_inference_statistics("small"))["model_stats"]
        return int(counted["inference_count"])

    before = ask(address, count)
    ask(address, lambda client: client.infer("small", [tensor(rows())]))
    assert ask(address, count) == before + 5


def test_what_is_not_offered_says_so(address: str) -> None:
    assert ask(address, lambda client: client.get_system_shared_memory_status()) == []
    assert refused(address, lambda client: client.get_log_settings())[0] == "501"
