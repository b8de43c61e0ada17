"""The forms of a refusal: each protocol has its own, and the path says which protocol is spoken."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import orjson

from app.errors import SlimvecError, StepRejected

PROBLEM_TYPE = "application/problem+json"
_JSON = "application/json"

Render: TypeAlias = Callable[[SlimvecError, int, str, str], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Form:
    """How a protocol writes a refusal.

    Attributes:
        media_type: its Content-Type.
        document: error, status, title and request id → the body.
        statuses: where it has another status than the table of `api/errors.py`.
        lasting: statuses that clients would try again, and that only a person can end.
        schema: of the body, in the document of the API.
    """

    media_type: str
    document: Render
    statuses: Mapping[int, int] = field(default_factory=dict)
    lasting: frozenset[int] = frozenset()
    schema: str = "Problem"

    def body(self, error: SlimvecError, status: int, title: str, instance: str) -> bytes:
        """The bytes of a refusal."""
        return orjson.dumps(self.document(error, status, title, instance))


def form_of(path: str) -> Form:
    """The form of the protocol that this path belongs to."""
    if path.startswith("/v2"):
        return _INFERENCE
    return _OPENAI if path.startswith(_OPENAI_PATHS) else _NATIVE


def _problem(error: SlimvecError, status: int, title: str, instance: str) -> dict[str, Any]:
    """RFC 9457, with a machine word `code` and `error` (= `detail`) beside it."""
    document: dict[str, Any] = {
        "type": f"urn:slimvec:{error.code}",
        "title": title,
        "status": status,
        "detail": error.detail,
        "instance": instance,
        "code": error.code,
        "error": error.detail,
    }
    if error.pointer:
        document["errors"] = [{"pointer": error.pointer, "message": error.detail}]
    if isinstance(error, StepRejected):
        document["reason"] = error.reason
    return document


def _openai(error: SlimvecError, status: int, title: str, instance: str) -> dict[str, Any]:
    """What clients of OpenAI's API read: one object `error`."""
    del title, instance  # the id is in the header Request-Id
    kind = _OPENAI_KINDS.get(status, "server_error" if status >= 500 else "invalid_request_error")
    param = error.pointer.strip("/").partition("/")[0] or None
    return {"error": {"message": error.detail, "type": kind, "param": param, "code": error.code}}


_NATIVE = Form(PROBLEM_TYPE, _problem)
# Clients of the Open Inference Protocol read `error`, and some only from this media type; what they
# call a bad argument is 400.
_INFERENCE = Form(_JSON, _problem, statuses={422: 400})
# OpenAI's answer to a request that it understands and will not serve is 400. Its clients would send
# a conflict again, and whatever is above 500, unless they are told.
_OPENAI = Form(
    _JSON,
    _openai,
    statuses={422: 400},
    lasting=frozenset({409, 501}),
    schema="OpenAIRefusal",
)
_OPENAI_KINDS = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
    503: "service_unavailable_error",
}
_OPENAI_PATHS = ("/v1/embeddings", "/v1/models", "/embeddings")
