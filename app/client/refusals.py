"""A refusal on the wire (RFC 9457), back into the error that the server raised.

The classes are those of `app.errors`, so that a caller catches the same ones on either side. The
HTTP answer behind an error is its `__cause__`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app import errors
from app.client.actions import Answer
from app.client.trouble import Interrupted, NotUnderstood
from app.codecs import parse_object
from app.errors import SlimvecError

# The inverse of the server's one table (app/api/errors.py); a test compares them.
BY_STATUS: Mapping[int, type[SlimvecError]] = {
    400: errors.Malformed,
    401: errors.Unauthorized,
    403: errors.Forbidden,
    404: errors.NotFound,
    406: errors.NotAcceptable,
    408: errors.TooSlow,
    409: errors.Conflict,
    412: errors.PreconditionFailed,
    413: errors.TooLarge,
    415: errors.UnsupportedMediaType,
    421: errors.Misdirected,
    422: errors.Unacceptable,
    429: errors.QueueFull,
    501: errors.Unimplemented,
    502: errors.UpstreamFailed,
    503: errors.Unavailable,
    507: errors.StorageFull,
}
# Where a code tells more than its status.
_BY_CODE: Mapping[str, type[SlimvecError]] = {
    "artifact_incompatible": errors.ArtifactInvalid,
    "artifact_invalid": errors.ArtifactInvalid,
    "config_invalid": errors.ConfigInvalid,
    "idempotency_in_progress": errors.InProgress,
    "outcome_unknown": errors.OutcomeUnknown,
    "step_rejected": errors.StepRejected,
    "too_many_rejections": errors.MustPause,
}
_GATEWAY = (502, 503, 504)


class Answered(Exception):
    """The answer behind an error: HTTP status, the id in the server's log, seconds to wait."""

    def __init__(self, status: int, request_id: str, retry_after_s: float | None) -> None:
        super().__init__(f"HTTP status {status}, request {request_id or 'without an id'}")
        self.status = status
        self.request_id = request_id
        self.retry_after_s = retry_after_s


def accepted(answer: Answer) -> Answer:
    """The answer itself, when the server did what it was asked.

    Raises:
        SlimvecError: what the server refused, by the narrowest class.
        NotUnderstood: this is no answer of a Slimvec server.
        Interrupted: a gateway answered in the place of the server.
    """
    if 200 <= answer.status < 300:
        return answer
    raise _error(answer)


def problem_error(
    problem: Mapping[str, Any], *, retry_after_s: float | None = None
) -> SlimvecError:
    """The error for a problem document.

    Raises:
        NotUnderstood: it is none.
    """
    status, code, detail = (problem.get(name) for name in ("status", "code", "detail"))
    if not (isinstance(status, int) and isinstance(code, str) and isinstance(detail, str)):
        raise not_understood("a refusal without status, code and detail")
    kind = _BY_CODE.get(code) or BY_STATUS.get(status, SlimvecError)
    error = kind.__new__(kind)  # the constructors of the narrow ones choose code or pointer
    SlimvecError.__init__(error, code, detail, pointer=_pointer(problem))
    if isinstance(error, errors.StepRejected):
        error.reason = str(problem.get("reason", ""))
    error.__cause__ = Answered(status, str(problem.get("instance", "")), retry_after_s)
    return error


def not_understood(found: str) -> NotUnderstood:
    """The error for an answer of another form than the contract's."""
    return NotUnderstood(f"expected an answer of a Slimvec server, got {found}; correct the URL")


def retry_after_s(error: BaseException) -> float:
    """How many seconds the server asked to wait; 0 where it did not say."""
    cause = error.__cause__
    return cause.retry_after_s or 0.0 if isinstance(cause, Answered) else 0.0


def _error(answer: Answer) -> SlimvecError:
    if "problem+json" not in answer.headers.get("content-type", ""):
        if answer.status in _GATEWAY:
            return Interrupted(
                f"expected an answer of the server, a gateway answered {answer.status}; "
                "see whether the server behind it runs"
            )
        return not_understood(f"status {answer.status} without a problem document")
    try:
        problem = parse_object(answer.body)
    except SlimvecError:
        return not_understood("a problem document that is no JSON")
    wait = answer.headers.get("retry-after", "")
    return problem_error(problem, retry_after_s=float(wait) if wait.isdecimal() else None)


def _pointer(problem: Mapping[str, Any]) -> str:
    match problem.get("errors"):
        case [{"pointer": str(pointer)}, *_]:
            return pointer
    return ""
