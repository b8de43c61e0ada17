"""The Open Inference Protocol as its clients speak it, with no client's package."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray

from tests.server import RunningServer

Array = NDArray[Any]
LENGTH = "inference-header-content-length"
PLAIN = {"accept-encoding": "identity"}


@dataclass(frozen=True, slots=True)
class Inference:
    """A body, and how many of its bytes are JSON."""

    body: bytes
    header_length: int | None

    @property
    def headers(self) -> dict[str, str]:
        length = {} if self.header_length is None else {LENGTH: str(self.header_length)}
        return PLAIN | length


def stored(rows: NDArray[np.float32], datatype: str) -> Array:
    """The values of a datatype, as little-endian numpy has them; bfloat16 as its bits."""
    if datatype == "BF16":
        return (rows.view(np.uint32) >> 16).astype(np.uint16)
    return rows.astype({"FP32": "<f4", "FP16": "<f2", "FP64": "<f8"}[datatype])


def meant(rows: NDArray[np.float32], datatype: str) -> NDArray[np.float32]:
    """What the rows are once they went through that datatype."""
    if datatype == "BF16":
        return (rows.view(np.uint32) & 0xFFFF0000).view(np.float32)
    return stored(rows, datatype).astype(np.float32)


def inference(
    rows: NDArray[np.float32], datatype: str = "FP32", *, is_binary: bool = True, **fields: Any
) -> Inference:
    """A request for one tensor."""
    values = stored(rows, datatype)
    tensor: dict[str, Any] = {
        "name": "hidden_states",
        "shape": list(rows.shape),
        "datatype": datatype,
    }
    if is_binary:
        tensor["parameters"] = {"binary_data_size": values.nbytes}
    else:
        tensor["data"] = values.reshape(-1).tolist()
    head = json.dumps({"inputs": [tensor], **fields}).encode()
    return Inference(head + values.tobytes(), len(head)) if is_binary else Inference(head, None)


def infer(
    server: RunningServer,
    request: Inference,
    model: str = "small",
    version: str | None = None,
    **headers: str,
) -> httpx.Response:
    """Send it, without a media type, as some clients do."""
    pinned = "" if version is None else f"/versions/{version}"
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return server.http.post(
        f"/v2/models/{model}{pinned}/infer", content=request.body, headers=request.headers | named
    )


def document_of(answer: httpx.Response) -> dict[str, Any]:
    """The JSON part of an answer."""
    assert answer.status_code == 200, answer.text
    length = answer.headers.get(LENGTH)
    found: dict[str, Any] = json.loads(answer.content[: None if length is None else int(length)])
    return found


def reduced_of(answer: httpx.Response) -> NDArray[np.float32]:
    """The tensor of an answer, in either form."""
    (output,) = document_of(answer)["outputs"]
    assert (output["name"], output["datatype"]) == ("reduced", "FP32")
    length = answer.headers.get(LENGTH)
    if length is None:
        values = np.array(output.get("data", ()), np.float32)
    else:
        values = np.frombuffer(answer.content[int(length) :], "<f4")
        assert output["parameters"] == {"binary_data_size": values.nbytes}
    return values.reshape(output["shape"])


def refusal_of(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of a refusal, which has to be one that every client can read."""
    assert answer.headers["content-type"] == "application/json"
    assert "content-encoding" not in answer.headers
    body = answer.json()
    assert isinstance(body["error"], str)
    assert body["error"]
    assert body["status"] == answer.status_code
    return answer.status_code, body["code"]
