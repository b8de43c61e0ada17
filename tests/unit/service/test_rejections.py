"""Rejected steps in a row: who has to pause, and what ends it."""

from __future__ import annotations

import pytest

from app.errors import MustPause
from app.service.rejections import PAUSE_S, Rejections


class Clock:
    """Stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def rejections(clock: Clock) -> Rejections:
    """Three in a row are too many; two senders are remembered."""
    return Rejections(3, most_senders=2, clock=clock)


def reject(rejections: Rejections, times: int, model: str = "m", sender: str = "a") -> None:
    for _ in range(times):
        rejections.check(model, sender)
        rejections.note_rejected(model, sender)


def has_to_pause(rejections: Rejections, model: str = "m", sender: str = "a") -> bool:
    try:
        rejections.check(model, sender)
    except MustPause:
        return True
    return False


def test_as_many_as_allowed_in_a_row_are_one_too_many_for_the_next(rejections: Rejections) -> None:
    reject(rejections, 2)
    assert not has_to_pause(rejections)
    reject(rejections, 1)
    assert has_to_pause(rejections)


def test_a_refusal_says_how_long_the_pause_is(rejections: Rejections) -> None:
    reject(rejections, 3)
    with pytest.raises(MustPause) as raised:
        rejections.check("m", "a")
    assert (raised.value.code, raised.value.retry_after_s) == ("too_many_rejections", PAUSE_S)


def test_an_accepted_step_ends_the_row(rejections: Rejections) -> None:
    reject(rejections, 2)
    rejections.note_accepted("m", "a")
    reject(rejections, 2)
    assert not has_to_pause(rejections)


def test_a_step_that_was_on_its_way_and_is_accepted_ends_the_pause(rejections: Rejections) -> None:
    reject(rejections, 3)
    rejections.note_accepted("m", "a")
    assert not has_to_pause(rejections)


@pytest.mark.parametrize(("model", "sender"), [("m", "b"), ("n", "a")])
def test_other_senders_and_models_have_no_part_in_it(
    rejections: Rejections, model: str, sender: str
) -> None:
    reject(rejections, 3)
    rejections.note_accepted(model, sender)
    assert not has_to_pause(rejections, model, sender)
    assert has_to_pause(rejections)


def test_a_pause_ends_the_row(rejections: Rejections, clock: Clock) -> None:
    reject(rejections, 3)
    clock.now_s += PAUSE_S
    assert not has_to_pause(rejections)
    reject(rejections, 2)
    assert not has_to_pause(rejections)


def test_a_step_within_the_pause_begins_it_anew(rejections: Rejections, clock: Clock) -> None:
    reject(rejections, 3)
    paused = []
    for _ in range(3):
        clock.now_s += PAUSE_S - 1
        paused.append(has_to_pause(rejections))
    assert paused == [True, True, True]


def test_of_too_many_senders_the_one_that_tried_first_is_forgotten(rejections: Rejections) -> None:
    for sender in "abc":
        reject(rejections, 3, sender=sender)
    assert len(rejections) == 2
    assert [has_to_pause(rejections, sender=sender) for sender in "abc"] == [False, True, True]


def test_a_try_within_the_pause_counts_as_the_newest(rejections: Rejections) -> None:
    for sender in "ab":
        reject(rejections, 3, sender=sender)
    assert has_to_pause(rejections, sender="a")
    reject(rejections, 1, sender="c")
    assert [has_to_pause(rejections, sender=sender) for sender in "ab"] == [True, False]


def test_a_model_that_has_gone_leaves_nothing_to_the_next_of_its_name(
    rejections: Rejections,
) -> None:
    reject(rejections, 3)
    reject(rejections, 3, model="n")
    rejections.forget("m")
    assert [has_to_pause(rejections, model=model) for model in "mn"] == [False, True]
