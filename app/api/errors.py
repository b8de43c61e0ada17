"""The one table from errors to status codes, and the one form that every refusal has.

RFC 9457 `application/problem+json`, with a machine word `code` and `error` (= `detail`) beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from app import errors
from app.api.codes import CODES

PROBLEM_TYPE = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Kind:
    """How one kind of error is answered."""

    status: int
    title: str


class MethodNotAllowed(errors.SlimvecError):
    """The path is there, the method is not."""


# Looked up along the error's class hierarchy: the narrowest entry wins.
KINDS: dict[type[errors.SlimvecError], Kind] = {
    errors.Malformed: Kind(400, "The body cannot be parsed"),
    errors.NotFound: Kind(404, "Not found"),
    MethodNotAllowed: Kind(405, "Method not allowed"),
    errors.NotAcceptable: Kind(406, "No acceptable media type"),
    errors.Conflict: Kind(409, "Conflict"),
    errors.PreconditionFailed: Kind(412, "Precondition failed"),
    errors.TooLarge: Kind(413, "Too large"),
    errors.UnsupportedMediaType: Kind(415, "Unsupported media type"),
    errors.Unacceptable: Kind(422, "Not acceptable content"),
    errors.QueueFull: Kind(429, "Too many requests"),
    errors.SlimvecError: Kind(500, "Internal error"),
    errors.Unavailable: Kind(503, "Not available now"),
    errors.StorageFull: Kind(507, "Storage full"),
}

_RETRY_AFTER_S = 1


def kind_of(error: errors.SlimvecError) -> Kind:
    """The narrowest entry of `KINDS` for this error."""
    return next(KINDS[cls] for cls in type(error).__mro__ if cls in KINDS)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI responses for these statuses, from the same table and that of the codes."""
    titles = {kind.status: kind.title for kind in KINDS.values()}
    content = {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        status: {
            "description": f"{titles[status]}; `code` is one of: {', '.join(CODES[status])}",
            "content": content,
        }
        for status in statuses
    }


def problem(status: int, title: str, code: str, detail: str, pointer: str, instance: str) -> bytes:
    """The body of a refusal."""
    document: dict[str, object] = {
        "type": f"urn:slimvec:{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "instance": instance,
        "code": code,
        "error": detail,
    }
    if pointer:
        document["errors"] = [{"pointer": pointer, "message": detail}]
    return orjson.dumps(document)


def render(error: errors.SlimvecError, instance: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body for an error."""
    kind = kind_of(error)
    headers = {"content-type": PROBLEM_TYPE}
    if kind.status in (429, 503):
        headers["retry-after"] = str(_RETRY_AFTER_S)
    body = problem(kind.status, kind.title, error.code, error.detail, error.pointer, instance)
    return kind.status, headers, body
