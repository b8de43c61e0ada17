"""The unmodified REST client of KServe: health, ready, infer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import httpx
import numpy as np
import pytest
from kserve import (
    InferenceRESTClient,
    InferInput,
    InferRequest,
    InferResponse,
    RESTConfig,
)
from kserve.protocol.infer_type import RequestedOutput
from numpy.typing import NDArray

from tests.interop.tensors import FORMS, meant, rows

pytestmark = pytest.mark.interop

T = TypeVar("T")


def ask(question: Callable[[InferenceRESTClient], Awaitable[T]]) -> T:
    async def asked() -> T:
        client = InferenceRESTClient(RESTConfig(protocol="v2"))
        try:
            return await question(client)
        finally:
            await client.close()

    return asyncio.run(asked())


def infer(url: str, array: NDArray[Any], datatype: str = "FP32", **given: Any) -> InferResponse:
    is_binary, model = given.pop("is_binary", True), given.pop("model", "small")
    tensor = InferInput("hidden_states", list(array.shape), datatype)
    tensor.set_data_from_numpy(array, binary_data=is_binary)
    request = InferRequest(model, [tensor], **given)
    return ask(lambda client: client.infer(url, request, model_name=model))


@pytest.fixture
def url(address: str) -> str:
    return f"http://{address}"


def test_health(url: str) -> None:
    assert ask(lambda client: client.is_server_live(url)) is True
    assert ask(lambda client: client.is_server_ready(url)) is True
    assert ask(lambda client: client.is_model_ready(url, "small")) is True
    assert ask(lambda client: client.is_model_ready(url, "none")) is False


@pytest.mark.parametrize("output", [None, True, False])
@pytest.mark.parametrize(("datatype", "is_binary"), [form for form in FORMS if form[0] != "BF16"])
def test_every_form_gives_the_same_vectors(
    url: str, served: httpx.Client, datatype: str, is_binary: bool, output: bool | None
) -> None:
    array = rows(datatype)
    asked = None
    if output is not None:
        asked = [RequestedOutput("reduced", parameters={"binary_data": output})]
    answer = infer(url, array, datatype, is_binary=is_binary, request_outputs=asked)
    native = served.post("/models/small/reduce", json={"hidden_states": meant(array).tolist()})
    wanted = np.array(native.json()["reduced"], np.float32)
    assert answer.outputs[0].as_numpy().astype(np.float32).tobytes() == wanted.tobytes()


def test_who_answered_and_whom(url: str) -> None:
    answer = infer(url, rows(), request_id="no. 7", parameters={"normalize": True})
    assert (answer.id, answer.model_name) == ("no. 7", "small")  # it drops the version
    norms = np.linalg.norm(answer.outputs[0].as_numpy(), axis=1)
    np.testing.assert_allclose(norms, 1, rtol=1e-5)


def test_a_refusal_has_our_text(url: str) -> None:
    with pytest.raises(httpx.HTTPStatusError, match="expected width 8") as refusal:
        infer(url, rows("FP32", 2, 7))
    assert refusal.value.response.status_code == 400
    with pytest.raises(httpx.HTTPStatusError, match="there is no model"):
        infer(url, rows(), model="none")
