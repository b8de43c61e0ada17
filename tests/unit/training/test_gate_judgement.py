"""When a version is worse: by more than the bound, by more than chance, and not paid for."""

from __future__ import annotations

import pytest
import torch

from app.training.gate.state import Figure, Judgement

BOUND, PAIR_WEIGHT = 0.005, 0.5


def figure(fall: float, doubt: float = 0.0) -> Figure:
    return Figure(judged=0.5 - fall, passed=0.5, doubt=doubt)


def faults(nn10: Figure | None, mrr: Figure | None = None) -> list[str]:
    """The names of what fell."""
    judgement = Judgement(version=9, rows=100, nn10=nn10, mrr=mrr)
    return [fault.split()[0] for fault in judgement.faults(BOUND, PAIR_WEIGHT)]


@pytest.mark.parametrize(
    ("nn10", "mrr", "expected"),
    [
        (None, None, []),
        (figure(0.004), None, []),
        (figure(0.006), None, ["nn10"]),
        (figure(-0.1), None, []),
        (figure(0.006, doubt=0.007), None, []),
        (figure(0.008, doubt=0.007), None, ["nn10"]),
        (Figure(judged=0.1), None, []),  # there was nothing to hold it against
        (figure(0.0), figure(0.006), ["mrr"]),
        (figure(-0.1), figure(0.006), ["mrr"]),  # what nn10 wins pays for nothing
        (figure(0.0), figure(0.006, doubt=0.007), []),
        (figure(0.006), figure(0.006), ["nn10", "mrr"]),
        (figure(0.014), figure(-0.02), []),  # 0.01 of it is paid for by mrr
        (figure(0.016), figure(-0.02), ["nn10"]),
    ],
)
def test_what_is_worse(nn10: Figure | None, mrr: Figure | None, expected: list[str]) -> None:
    assert faults(nn10, mrr) == expected


@pytest.mark.parametrize(
    ("nn10", "mrr", "expected"),
    [
        (None, None, False),
        (figure(0.006, doubt=0.007), None, True),
        (figure(0.004, doubt=0.007), None, False),  # within the bound
        (figure(0.008, doubt=0.007), None, False),  # more than chance
        (figure(-0.1), figure(0.006, doubt=0.007), True),
    ],
)
def test_what_may_be_chance(nn10: Figure | None, mrr: Figure | None, expected: bool) -> None:
    judgement = Judgement(version=9, rows=100, nn10=nn10, mrr=mrr)
    assert judgement.is_doubtful(BOUND) is expected


def test_a_fault_says_both_figures_the_bound_and_the_doubt() -> None:
    (fault,) = Judgement(version=9, rows=100, nn10=figure(0.1, 0.02)).faults(BOUND, PAIR_WEIGHT)
    assert fault == (
        "nn10 fell from 0.5000 to 0.4000, by more than the bound 0.005 and than chance (0.0200)"
    )


def test_the_doubt_is_two_standard_errors_of_the_difference() -> None:
    passed = torch.tensor([0.5, 0.7, 0.9, 0.3], dtype=torch.float64)
    difference = torch.tensor([0.1, -0.1, 0.2, 0.0], dtype=torch.float64)
    found = Figure.of(passed - difference, passed)
    assert (found.passed, found.judged) == pytest.approx((0.6, 0.55))
    assert found.doubt == pytest.approx(2 * float(difference.std()) / 2)


def test_a_figure_alone_has_no_doubt() -> None:
    assert Figure.of(torch.tensor([1.0, 0.5]).double(), None) == Figure(judged=0.75)
