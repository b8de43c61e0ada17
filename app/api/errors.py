"""The one table from errors to status codes; `api/forms.py` has the bodies."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from app import errors
from app.api.codes import CODES
from app.api.forms import Form, form_of

log = logging.getLogger("slimvec.access")


@dataclass(frozen=True, slots=True)
class Kind:
    """How one kind of error is answered."""

    status: int
    title: str
    try_again: bool = False  # told by Retry-After


class MethodNotAllowed(errors.SlimvecError):
    """The path is there, the method is not; `allow` names those that are."""

    def __init__(self, code: str, detail: str, *, allow: str = "") -> None:
        super().__init__(code, detail)
        self.allow = allow


class TargetTooLong(errors.SlimvecError):
    """The target of the request is over its limit."""


class HeadTooLarge(errors.SlimvecError):
    """The headers are over their limit, in bytes or number."""


class ExpectationFailed(errors.SlimvecError):
    """An Expect that nobody here meets."""


# Looked up along the error's class hierarchy: the narrowest entry wins.
KINDS: dict[type[errors.SlimvecError], Kind] = {
    errors.Malformed: Kind(400, "The request cannot be parsed"),
    errors.Unauthorized: Kind(401, "Not authorized"),
    errors.Forbidden: Kind(403, "Not allowed"),
    errors.NotFound: Kind(404, "Not found"),
    MethodNotAllowed: Kind(405, "Method not allowed"),
    errors.NotAcceptable: Kind(406, "No acceptable media type"),
    errors.TooSlow: Kind(408, "Too slow"),
    errors.Conflict: Kind(409, "Conflict"),
    errors.InProgress: Kind(409, "In progress", try_again=True),
    errors.PreconditionFailed: Kind(412, "Precondition failed"),
    errors.TooLarge: Kind(413, "Too large"),
    TargetTooLong: Kind(414, "Target too long"),
    errors.UnsupportedMediaType: Kind(415, "Unsupported media type"),
    ExpectationFailed: Kind(417, "Expectation failed"),
    errors.Misdirected: Kind(421, "Misdirected request"),
    errors.Unacceptable: Kind(422, "Not acceptable content"),
    HeadTooLarge: Kind(431, "Head too large"),
    errors.MustPause: Kind(429, "Too many requests", try_again=True),
    errors.QueueFull: Kind(429, "Too many requests", try_again=True),
    errors.SlimvecError: Kind(500, "Internal error"),
    errors.Unimplemented: Kind(501, "Not offered here"),
    errors.UpstreamFailed: Kind(502, "Upstream failed"),
    errors.Unavailable: Kind(503, "Not available now", try_again=True),
    errors.StorageFull: Kind(507, "Storage full"),
}

# Some refusals of these say when to come again.
TRY_AGAIN = frozenset(kind.status for kind in KINDS.values() if kind.try_again)
_RETRY_AFTER_S = 1


def as_fault(error: Exception, **extra: str) -> errors.SlimvecError:
    """What a client is told of an error; one of ours is logged here, once, and stays inside.

    Args:
        error: whatever was raised.
        extra: fields of the record in the log.
    """
    if isinstance(error, errors.SlimvecError):
        return error
    if isinstance(error, MemoryError):
        return errors.OutOfMemory()
    log.error("unexpected error", exc_info=error, extra=extra)
    return errors.SlimvecError("internal", "the server failed; the request id finds it in the log")


def kind_of(error: errors.SlimvecError) -> Kind:
    """The narrowest entry of `KINDS` for this error."""
    return next(KINDS[cls] for cls in type(error).__mro__ if cls in KINDS)


def documented(*statuses: int, path: str = "") -> dict[int | str, dict[str, Any]]:
    """OpenAPI responses for these statuses, from the same tables, in the form of the path."""
    titles = {kind.status: kind.title for kind in reversed(KINDS.values())}
    form = form_of(path)
    content = {form.media_type: {"schema": {"$ref": f"#/components/schemas/{form.schema}"}}}
    return {
        status: {
            "description": f"{titles[status]}; `code` is one of: {', '.join(_codes(status, form))}",
            "content": content,
        }
        for status in statuses
    }


def _codes(status: int, form: Form) -> list[str]:
    """The machine words that this status may come with, in that form."""
    return [
        code
        for listed, codes in CODES.items()
        if form.statuses.get(listed, listed) == status
        for code in codes
    ]


def render(
    error: errors.SlimvecError, instance: str, path: str = ""
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body for an error, in the form of the path's protocol."""
    kind, form = kind_of(error), form_of(path)
    status = form.statuses.get(kind.status, kind.status)
    headers = {"content-type": form.media_type}
    if kind.try_again:
        headers["retry-after"] = str(getattr(error, "retry_after_s", _RETRY_AFTER_S))
    if kind.status == 401:
        headers["www-authenticate"] = "Bearer"
    if isinstance(error, MethodNotAllowed) and error.allow:
        headers["allow"] = error.allow
    if status in form.lasting:
        headers["x-should-retry"] = "false"
    return status, headers, form.body(error, status, kind.title, instance)
