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
    try_again: bool = False  # told by Retry-After


class MethodNotAllowed(errors.SlimvecError):
    """The path is there, the method is not."""


class Forbidden(errors.SlimvecError):
    """Whoever asks may not."""


# Looked up along the error's class hierarchy: the narrowest entry wins.
KINDS: dict[type[errors.SlimvecError], Kind] = {
    errors.Malformed: Kind(400, "The body cannot be parsed"),
    Forbidden: Kind(403, "Not allowed"),
    errors.NotFound: Kind(404, "Not found"),
    MethodNotAllowed: Kind(405, "Method not allowed"),
    errors.NotAcceptable: Kind(406, "No acceptable media type"),
    errors.Conflict: Kind(409, "Conflict"),
    errors.InProgress: Kind(409, "In progress", try_again=True),
    errors.PreconditionFailed: Kind(412, "Precondition failed"),
    errors.TooLarge: Kind(413, "Too large"),
    errors.UnsupportedMediaType: Kind(415, "Unsupported media type"),
    errors.Unacceptable: Kind(422, "Not acceptable content"),
    errors.QueueFull: Kind(429, "Too many requests", try_again=True),
    errors.SlimvecError: Kind(500, "Internal error"),
    errors.Unavailable: Kind(503, "Not available now", try_again=True),
    errors.StorageFull: Kind(507, "Storage full"),
}

# Some refusals of these say when to come again.
TRY_AGAIN = frozenset(kind.status for kind in KINDS.values() if kind.try_again)
_RETRY_AFTER_S = 1


def kind_of(error: errors.SlimvecError) -> Kind:
    """The narrowest entry of `KINDS` for this error."""
    return next(KINDS[cls] for cls in type(error).__mro__ if cls in KINDS)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI responses for these statuses, from the same table and that of the codes."""
    titles = {kind.status: kind.title for kind in reversed(KINDS.values())}
    content = {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        status: {
            "description": f"{titles[status]}; `code` is one of: {', '.join(CODES[status])}",
            "content": content,
        }
        for status in statuses
    }


def problem(error: errors.SlimvecError, instance: str) -> bytes:
    """The body of a refusal."""
    kind = kind_of(error)
    document: dict[str, object] = {
        "type": f"urn:slimvec:{error.code}",
        "title": kind.title,
        "status": kind.status,
        "detail": error.detail,
        "instance": instance,
        "code": error.code,
        "error": error.detail,
    }
    if error.pointer:
        document["errors"] = [{"pointer": error.pointer, "message": error.detail}]
    if isinstance(error, errors.StepRejected):
        document["reason"] = error.reason
    return orjson.dumps(document)


def render(error: errors.SlimvecError, instance: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body for an error."""
    kind = kind_of(error)
    headers = {"content-type": PROBLEM_TYPE}
    if kind.try_again:
        headers["retry-after"] = str(_RETRY_AFTER_S)
    return kind.status, headers, problem(error, instance)
