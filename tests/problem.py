"""The canonical refusal: the one form that every error of the server has."""

from __future__ import annotations

import re
from http import HTTPStatus

import httpx
import orjson

from app.api.errors import KINDS

FIELDS = {"type", "title", "status", "detail", "instance", "code", "error"}
# The longest names all layers, in `detail`, `error` and `errors`.
MAX_BYTES = 2048
MAX_FAULTS = 10

# What would tell a stranger how the server is built. `numpy.save` is a tool of the client's.
_INSIDE = re.compile(
    r"Traceback|site-packages|\.py\b|\bline \d|Exception|Error\b|0x[0-9a-f]{6}|/tmp/|/home/|"
    r"pydantic|starlette|fastapi|uvicorn|httptools|simdjson|orjson|numpy(?!\.save)|torch\b"
)


def assert_canonical(
    answer: httpx.Response, status: int, code: str, *, detail: str = ""
) -> dict[str, object]:
    """Assert that an answer is this refusal in the canonical form; returns its document."""
    assert (answer.status_code, answer.headers["content-type"]) == (
        status,
        "application/problem+json",
    ), answer.text
    body: dict[str, object] = orjson.loads(answer.content)
    assert body.keys() - {"errors"} == FIELDS | ({"reason"} if code == "step_rejected" else set())
    assert body["code"] == code, body
    assert detail in str(body["detail"]), body
    assert body["type"] == f"urn:slimvec:{code}"
    assert body["status"] == status
    assert body["title"] in {kind.title for kind in KINDS.values() if kind.status == status}
    assert body["error"] == body["detail"] != ""
    assert body["instance"] == answer.headers["request-id"]
    assert len(answer.content) < MAX_BYTES
    assert not _INSIDE.search(answer.text), answer.text
    is_passing = status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
    assert ("retry-after" in answer.headers) == (is_passing or body["title"] == "In progress")
    _assert_faults(body.get("errors"))
    return body


def _assert_faults(faults: object) -> None:
    if faults is None:
        return
    assert isinstance(faults, list)
    assert 1 <= len(faults) <= MAX_FAULTS
    for fault in faults:
        assert fault.keys() == {"pointer", "message"}
        assert fault["pointer"].startswith("/")
        assert fault["message"]
