"""What is ordinary is learned from accepted values; far above it is refused."""

from __future__ import annotations

import pytest

from app.errors import StepRejected
from app.training.guards.baseline import Baseline, check_ordinary


def after(*values: float) -> Baseline:
    baseline = Baseline()
    for value in values:
        baseline = baseline.following(value)
    return baseline


def check(value: float, baseline: Baseline, *, factor: float = 10.0, warm_up: int = 3) -> None:
    check_ordinary(
        value, baseline, factor=factor, warm_up=warm_up, reason="loss_spike", what="a loss"
    )


def test_the_first_values_are_averaged() -> None:
    assert after(1.0, 2.0, 6.0) == Baseline(count=3, mean=3.0, peak=3.0)


def test_later_the_mean_follows_the_newest_values() -> None:
    baseline = after(*[8.0] * 100, *[2.0] * 400)
    assert baseline.mean == pytest.approx(2.0, abs=0.02)  # (63 / 64) ** 400 of the way is left
    assert baseline.peak == 8.0


def test_a_value_that_is_rounding_of_zero_teaches_nothing() -> None:
    assert after(1.0, 0.0, 1e-9) == after(1.0)


@pytest.mark.parametrize("value", [0.0, 1.0, 10.0])
def test_up_to_the_bound_passes(value: float) -> None:
    check(value, after(1.0, 1.0, 1.0))


def test_above_the_bound_is_refused_with_value_and_bound() -> None:
    with pytest.raises(
        StepRejected, match=r"a loss of at most 10 \(10 times .*got 10.5"
    ) as refusal:
        check(10.5, after(1.0, 1.0, 1.0))
    assert (refusal.value.code, refusal.value.reason) == ("step_rejected", "loss_spike")


def test_a_mean_that_fell_far_keeps_a_tenth_of_its_peak() -> None:
    baseline = after(*[100.0] * 64, *[1e-3] * 2000)
    check(100.0, baseline)
    with pytest.raises(StepRejected):
        check(101.0, baseline)


def test_nothing_is_refused_in_the_warm_up() -> None:
    check(1e30, after(1.0, 1.0))


def test_a_factor_of_zero_refuses_nothing() -> None:
    check(1e30, after(1.0, 1.0, 1.0), factor=0.0)
