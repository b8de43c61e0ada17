from __future__ import annotations

import json

import pytest

from app import errors
from app.api.errors import KINDS, kind_of, render
from app.errors import SlimvecError


def leaves(cls: type[SlimvecError] = SlimvecError) -> list[type[SlimvecError]]:
    return [cls, *(leaf for child in cls.__subclasses__() for leaf in leaves(child))]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.Malformed("malformed_json", "x"), 400),
        (errors.NotFound("model_not_found", "x"), 404),
        (errors.Conflict("model_exists", "x"), 409),
        (errors.PreconditionFailed("version_mismatch", "x"), 412),
        (errors.TooLarge("body_too_large", "x"), 413),
        (errors.UnsupportedMediaType("unsupported_media_type", "x"), 415),
        (errors.StepRejected("x", reason="non_finite_loss"), 422),
        (errors.ConfigInvalid("x", pointer="/"), 422),
        (errors.QueueFull("queue_full", "x"), 429),
        (errors.Unavailable("draining", "x"), 503),
        (errors.StorageFull("storage_full", "x"), 507),
        (SlimvecError("internal", "x"), 500),
    ],
)
def test_the_narrowest_entry_of_the_table_decides(error: SlimvecError, status: int) -> None:
    assert render(error, "id")[0] == status


def test_every_error_that_can_reach_a_client_has_an_entry_of_its_own_kind() -> None:
    internal = {SlimvecError, errors.StartupError}
    ours = {cls for cls in leaves() if cls.__module__ == errors.__name__} - internal
    assert all(any(cls in KINDS for cls in leaf.__mro__[:-3]) for leaf in ours)


def test_a_refusal_is_a_problem_with_a_pointer_where_it_helps() -> None:
    error = errors.Unacceptable("ragged_rows", "row 3 is short", pointer="/hidden_states/3")
    status, headers, body = render(error, "the-id")
    assert headers == {"content-type": "application/problem+json"}
    assert json.loads(body) == {
        "type": "urn:slimvec:ragged_rows",
        "title": kind_of(error).title,
        "status": status,
        "detail": "row 3 is short",
        "instance": "the-id",
        "code": "ragged_rows",
        "error": "row 3 is short",
        "errors": [{"pointer": "/hidden_states/3", "message": "row 3 is short"}],
    }


def test_what_may_pass_says_when_to_come_back() -> None:
    for error in (errors.QueueFull("queue_full", "x"), errors.Unavailable("draining", "x")):
        assert render(error, "id")[1]["retry-after"] == "1"
