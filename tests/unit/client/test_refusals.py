from __future__ import annotations

import pytest

from app import errors
from app.api.errors import KINDS, render
from app.client import Answered, ConnectionTrouble, Interrupted, NotUnderstood
from app.client.actions import Answer
from app.client.refusals import BY_STATUS, accepted
from app.errors import SlimvecError

RAISED: list[SlimvecError] = [
    errors.Malformed("empty_body", "a", pointer="/a/0"),
    errors.UnsupportedMediaType("unsupported_media_type", "b"),
    errors.NotAcceptable("not_acceptable", "c"),
    errors.Unacceptable("out_of_range", "d", pointer="/hidden_states/1"),
    errors.ConfigInvalid("e", pointer="/layers/0/type"),
    errors.ArtifactInvalid("f", code="artifact_incompatible"),
    errors.ArtifactInvalid("g"),
    errors.StepRejected("h", reason="loss"),
    errors.TooLarge("body_too_large", "i"),
    errors.NotFound("version_not_retained", "j"),
    errors.Conflict("model_exists", "k"),
    errors.InProgress("idempotency_in_progress", "l"),
    errors.PreconditionFailed("version_mismatch", "m"),
    errors.QueueFull("queue_full", "n"),
    errors.MustPause("too_many_rejections", "n"),
    errors.Unavailable("draining", "o"),
    errors.OutcomeUnknown("outcome_unknown", "p"),
    errors.StorageFull("storage_full", "q"),
    SlimvecError("internal", "r"),
    errors.Unauthorized("api_key_missing", "s"),
    errors.Forbidden("insufficient_scope", "t"),
    errors.Misdirected("host_not_allowed", "u"),
    errors.TooSlow("body_too_slow", "v"),
    errors.Unimplemented("not_offered", "w"),
    errors.UpstreamFailed("upstream_failed", "x"),
]


def test_every_status_of_the_server_becomes_its_error() -> None:
    direct = [error for error in KINDS if error.__base__ is SlimvecError]
    served = {KINDS[error].status: error for error in direct if error.__module__ == "app.errors"}
    assert served == BY_STATUS


@pytest.mark.parametrize("error", RAISED, ids=lambda error: f"{type(error).__name__} {error.code}")
def test_an_error_comes_back_as_it_was_raised(error: SlimvecError) -> None:
    found = refused(Answer(*render(error, "id-1")))
    assert type(found) is type(error)
    assert (found.code, found.detail, found.pointer) == (error.code, error.detail, error.pointer)


def test_a_rejected_step_says_for_which_reason() -> None:
    body = b'{"status":422,"code":"step_rejected","detail":"no","reason":"canary"}'
    found = refused(Answer(422, {"content-type": "application/problem+json"}, body))
    assert isinstance(found, errors.StepRejected)
    assert found.reason == "canary"


def test_the_answer_behind_an_error_is_its_cause() -> None:
    cause = refused(Answer(*render(errors.Unavailable("draining", "x"), "id-1"))).__cause__
    assert isinstance(cause, Answered)
    assert (cause.status, cause.request_id, cause.retry_after_s) == (503, "id-1", 1.0)


@pytest.mark.parametrize(
    ("status", "content_type", "body", "kind"),
    [
        (404, "text/html", b"<h1>404</h1>", NotUnderstood),
        (301, "text/html", b"", NotUnderstood),
        (500, "application/problem+json", b"oops", NotUnderstood),
        (500, "application/problem+json", b"{}", NotUnderstood),
        (422, "application/problem+json", b'{"status": "422"}', NotUnderstood),
        (502, "text/html", b"", Interrupted),
        (504, "", b"", Interrupted),
    ],
)
def test_an_answer_of_something_else_is_trouble(
    status: int, content_type: str, body: bytes, kind: type[ConnectionTrouble]
) -> None:
    assert type(refused(Answer(status, {"content-type": content_type}, body))) is kind


def refused(answer: Answer) -> SlimvecError:
    with pytest.raises(SlimvecError) as raised:
        accepted(answer)
    return raised.value
