"""When whoever is refused is told to come again."""

from __future__ import annotations

import pytest

from app.engine.drain_rate import DrainRate


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def _after(seconds: float, finished: int) -> tuple[DrainRate, Clock]:
    clock = Clock()
    rate = DrainRate(clock)
    clock.now += seconds
    rate.finished += finished
    return rate, clock


@pytest.mark.parametrize(
    ("finished", "amount", "wait_s"),
    [(100, 1, 1), (100, 150, 3), (100, 5000, 60), (2, 1, 1), (1, 7, 14), (1, 7_000_000, 60)],
)
def test_it_is_when_so_much_will_be_finished_at_the_rate_seen_rounded_up(
    finished: int, amount: int, wait_s: int
) -> None:
    rate, _ = _after(2.0, finished)
    assert rate.wait_s(amount) == wait_s


def test_before_anything_was_finished_it_is_as_long_as_that_took_already() -> None:
    clock = Clock()
    rate = DrainRate(clock)
    assert rate.wait_s(1000) == 1
    clock.now += 7.5
    assert rate.wait_s(1) == 8


def test_a_pause_without_work_says_nothing() -> None:
    rate, clock = _after(2.0, 100)
    assert rate.wait_s(100) == 2
    clock.now += 3600
    rate.begin()
    clock.now += 1.0
    rate.finished += 50
    assert rate.wait_s(100) == 2


def test_newer_rates_count_more() -> None:
    rate, clock = _after(2.0, 200)
    rate.wait_s(1)
    for _ in range(8):
        clock.now += 1.0
        rate.finished += 10
        rate.wait_s(1)
    assert rate.wait_s(100) in (9, 10)
