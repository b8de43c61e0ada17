from __future__ import annotations

import pytest

from app.client import Answered, Interrupted, NotUnderstood, Retries, Unreachable
from app.client.retries import Tries
from app.errors import (
    Conflict,
    InProgress,
    MustPause,
    NotFound,
    OutcomeUnknown,
    PreconditionFailed,
    QueueFull,
    SlimvecError,
    StepRejected,
    StorageFull,
    Unacceptable,
    Unavailable,
)

INSISTENT = Retries(total_s=1000, first_s=0.1, longest_s=5)

ALWAYS: list[SlimvecError] = [
    Unreachable("x"),
    InProgress("idempotency_in_progress", "x"),
    QueueFull("queue_full", "x"),
    QueueFull("overloaded", "x"),
    Unavailable("draining", "x"),
    Unavailable("not_ready", "x"),
    Unavailable("out_of_memory", "x"),
    Unavailable("storage_failed", "x"),
]
IF_REPEATABLE: list[SlimvecError] = [Interrupted("x"), OutcomeUnknown("outcome_unknown", "x")]
NEVER: list[SlimvecError] = [
    NotUnderstood("x"),
    NotFound("model_not_found", "x"),
    Conflict("model_exists", "x"),
    PreconditionFailed("version_mismatch", "x"),
    Unacceptable("idempotency_key_reused", "x"),
    StepRejected("x", reason="loss"),
    StorageFull("storage_full", "x"),
    MustPause("too_many_rejections", "x"),
    Unavailable("read_only", "x"),
    Unavailable("model_not_loaded", "x"),
    SlimvecError("internal", "x"),
]


def name(error: object) -> str:
    return error.code if isinstance(error, SlimvecError) else str(error)


@pytest.mark.parametrize("is_repeatable", [True, False])
@pytest.mark.parametrize("error", ALWAYS + IF_REPEATABLE + NEVER, ids=name)
def test_what_is_tried_again(error: SlimvecError, is_repeatable: bool) -> None:
    tries = Tries(INSISTENT, is_repeatable=is_repeatable)
    if error in ALWAYS or (error in IF_REPEATABLE and is_repeatable):
        assert tries.pause_after(error) >= 0
        return
    with pytest.raises(type(error)) as raised:
        tries.pause_after(error)
    assert raised.value is error


def test_a_full_disk_is_waited_for_when_asked() -> None:
    tries = Tries(Retries(when_storage_full=True), is_repeatable=True)
    assert tries.pause_after(StorageFull("storage_full", "x")) >= 0


def test_a_pause_is_at_least_what_the_server_asked_for() -> None:
    tries = Tries(INSISTENT, is_repeatable=True)
    pauses = [tries.pause_after(_asking(7.0)) for _ in range(20)]
    assert all(7 <= pause <= 12 for pause in pauses)
    assert len(set(pauses)) > 1  # jitter


def test_pauses_grow_up_to_a_bound() -> None:
    tries = Tries(INSISTENT, is_repeatable=True)
    pauses = [tries.pause_after(Unreachable("x")) for _ in range(40)]
    assert pauses[0] <= 0.1
    assert 0.4 < max(pauses) <= 5


def test_no_try_begins_after_the_total_time() -> None:
    tries = Tries(Retries(total_s=6), is_repeatable=True)
    with pytest.raises(Unavailable):
        tries.pause_after(_asking(7.0))


def test_zero_seconds_means_one_try() -> None:
    with pytest.raises(Unreachable):
        Tries(Retries(total_s=0), is_repeatable=True).pause_after(Unreachable("x"))


def _asking(seconds: float) -> Unavailable:
    error = Unavailable("draining", "x")
    error.__cause__ = Answered(503, "id", seconds)
    return error
