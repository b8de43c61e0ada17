"""Requests and answers of OpenAI's embeddings protocol, for its contract tests."""

from __future__ import annotations

from base64 import b64decode
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray

from tests.server import RunningServer

PATH = "/v1/embeddings"
_STATUS_KINDS = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_STATUS_KINDS |= {503: "service_unavailable_error"}


def embed(server: RunningServer, **body: Any) -> httpx.Response:
    """Ask for embeddings of the model `small` unless another one is named."""
    return server.http.post(PATH, json={"model": "small", **body})


def vectors_of(answer: httpx.Response) -> NDArray[np.float32]:
    """The rows of an answer, in either encoding."""
    assert answer.status_code == 200, answer.text
    items = answer.json()["data"]
    assert [item["index"] for item in items] == list(range(len(items)))
    assert {item["object"] for item in items} == {"embedding"}
    return np.stack([_vector(item["embedding"]) for item in items])


def _vector(embedding: str | list[float]) -> NDArray[np.float32]:
    if isinstance(embedding, str):
        return np.frombuffer(b64decode(embedding, validate=True), "<f4")
    return np.array(embedding, np.float32)


def assert_refused(
    answer: httpx.Response, status: int, code: str, *, param: str | None = None, says: str = ""
) -> None:
    """Assert that an answer is this refusal in OpenAI's form."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    error = body["error"]
    other = "server_error" if status >= 500 else "invalid_request_error"
    assert (body.keys(), error.keys()) == ({"error"}, {"message", "type", "param", "code"})
    assert (error["code"], error["param"]) == (code, param), error
    assert error["type"] == _STATUS_KINDS.get(status, other)
    assert says in error["message"], error
    assert answer.headers.get("x-should-retry") == ("false" if status in (409, 501) else None)
    assert ("retry-after" in answer.headers) == (status in (429, 503))
