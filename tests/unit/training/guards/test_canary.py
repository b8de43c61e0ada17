"""The canary: which rows it keeps, when it is asked, and that asking changes nothing."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from app.config import CanaryConfig, Component
from app.errors import StepRejected
from app.training.batch import TensorBatch
from app.training.guards.canary import Anchor, Canary, CanaryWatch
from app.training.losses import build_loss

ROWS, WIDTH = 16, 4


def make_watch(
    loss: str = "mse", *, rows: int = 16, every: int = 3, warm_up: int = 8
) -> CanaryWatch:
    config = CanaryConfig(rows=rows, every=every, tolerance=0.5)
    return CanaryWatch(config, warm_up=warm_up, loss=build_loss(Component(type=loss)))


class Scaled(nn.Module):
    """`x · factor`: with zeros as targets the loss of ones is the factor's square."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, hidden_states: Tensor) -> Tensor:
        return hidden_states * self.factor


def numbered(first: float = 0.0, weights: Tensor | None = None) -> TensorBatch:
    """Rows that hold their own numbers."""
    rows = torch.arange(first, first + ROWS).unsqueeze(1).expand(ROWS, WIDTH)
    return TensorBatch(hidden_states=rows, targets=torch.zeros(ROWS, WIDTH), sample_weights=weights)


def anchored(*, best: float = 1.0, age: int = 0) -> Canary:
    rows = TensorBatch(hidden_states=torch.ones(ROWS, WIDTH), targets=torch.zeros(ROWS, WIDTH))
    return Canary(rows, Anchor(first=2.0, best=best, age=age))


def step(watch: CanaryWatch, canary: Canary, before: float, after: float) -> Canary:
    """One accepted step that brings the layer from one factor to another."""
    known = watch.loss_before(canary, Scaled(before))
    return watch.following(canary, Scaled(after), before=known, batch=None, peak=0.0)


def test_rows_are_taken_evenly_from_each_of_the_first_steps() -> None:
    canary = Canary()
    for number in range(2):
        batch = numbered(100.0 * number)
        canary = make_watch().following(canary, Scaled(1.0), before=None, batch=batch, peak=0.0)
    assert canary.rows is not None
    assert canary.rows.hidden_states[:, 0].tolist() == [0.0, 8.0, 100.0, 108.0]
    assert canary.anchor is None


def test_rows_are_copies() -> None:
    batch = TensorBatch(hidden_states=torch.ones(ROWS, WIDTH), targets=torch.ones(ROWS, WIDTH))
    canary = make_watch().following(Canary(), Scaled(1.0), before=None, batch=batch, peak=0.0)
    batch.hidden_states.zero_()
    assert canary.rows is not None
    assert canary.rows.hidden_states.tolist() == [[1.0] * WIDTH] * 2


def test_the_last_rows_anchor_the_loss() -> None:
    canary, watch = Canary(), make_watch()
    for _ in range(8):
        assert canary.anchor is None
        canary = watch.following(canary, Scaled(2.0), before=None, batch=numbered(1.0), peak=0.0)
    assert canary.rows is not None
    assert canary.rows.rows == 16
    first = float((2 * canary.rows.hidden_states).square().mean())
    assert canary.anchor == Anchor(first=first, best=first)


def test_a_long_warm_up_takes_fewer_rows_of_each_step() -> None:
    canary = make_watch(warm_up=16).following(
        Canary(), Scaled(1.0), before=None, batch=numbered(), peak=0.0
    )
    assert canary.rows is not None
    assert canary.rows.rows == 1


def test_rows_without_a_weight_are_not_taken_and_weights_are_kept() -> None:
    weights = torch.zeros(ROWS)
    weights[[3, 9]] = torch.tensor([2.0, 5.0])
    canary = make_watch().following(
        Canary(), Scaled(1.0), before=None, batch=numbered(0, weights), peak=0.0
    )
    assert canary.rows is not None
    assert canary.rows.sample_weights is not None
    assert canary.rows.hidden_states[:, 0].tolist() == [3.0, 9.0]
    assert canary.rows.sample_weights.tolist() == [2.0, 5.0]


def test_steps_with_and_without_weights_are_joined() -> None:
    canary, watch = Canary(), make_watch()
    for weights in (None, torch.full((ROWS,), 3.0)):
        batch = numbered(0, weights)
        canary = watch.following(canary, Scaled(1.0), before=None, batch=batch, peak=0.0)
    assert canary.rows is not None
    assert canary.rows.sample_weights is not None
    assert canary.rows.sample_weights.tolist() == [1.0, 1.0, 3.0, 3.0]


def test_rows_without_a_finite_loss_are_given_up() -> None:
    canary, watch = Canary(), make_watch(rows=2)
    huge = TensorBatch(
        hidden_states=torch.full((ROWS, WIDTH), 1e30), targets=torch.zeros(ROWS, WIDTH)
    )
    for _ in range(2):
        canary = watch.following(canary, Scaled(1.0), before=None, batch=huge, peak=0.0)
    assert canary == Canary()


def test_a_loss_that_was_ordinary_before_the_rows_were_complete_widens_the_bound() -> None:
    watch, canary = make_watch(), Canary()
    for number in range(8):
        batch = numbered(float(number))
        canary = watch.following(canary, Scaled(0.01), before=None, batch=batch, peak=2.5)
    assert canary.anchor is not None
    assert (canary.anchor.first, canary.anchor.best < 0.1) == (2.5, True)


@pytest.mark.parametrize(("rows", "batch"), [(0, numbered()), (16, None)])
def test_no_rows_are_taken_when_off_or_of_a_step_with_another_loss(
    rows: int, batch: TensorBatch | None
) -> None:
    watch = make_watch(rows=rows)
    assert watch.following(Canary(), Scaled(1.0), before=None, batch=batch, peak=0.0) == Canary()


def test_it_is_asked_every_third_step_and_the_best_loss_only_falls() -> None:
    watch, canary, seen = make_watch(), anchored(), []
    for before, after in [(1.0, 0.9), (0.9, 0.8), (0.8, 0.7), (0.7, 9.0), (9.0, 9.0), (9.0, 0.8)]:
        canary = step(watch, canary, before, after)
        assert canary.anchor is not None
        seen.append((canary.anchor.age, round(canary.anchor.best, 4)))
    assert seen == [(1, 1.0), (2, 1.0), (0, 0.49), (1, 0.49), (2, 0.49), (0, 0.49)]


# best 0.25, first 2, tolerance 0.5: the bound is 1.25, and 1.11 squared is below it
@pytest.mark.parametrize(("factor", "is_refused"), [(1.11, False), (1.12, True), (1e30, True)])
def test_a_step_that_lifts_the_loss_above_the_bound_is_refused(
    factor: float, is_refused: bool
) -> None:
    canary, refusals = anchored(best=0.25, age=2), []
    try:
        assert step(make_watch(), canary, 0.5, factor).anchor == Anchor(first=2.0, best=0.25)
    except StepRejected as refusal:
        refusals.append(refusal.reason)
    assert refusals == ["canary"] * is_refused


def test_a_step_on_the_way_back_is_accepted_and_the_next_one_is_judged_too() -> None:
    canary = anchored(best=0.25, age=2)
    assert step(make_watch(), canary, 3.0, 2.0) == canary
    with pytest.raises(StepRejected, match=r"at most 1\.25 .* got 4 after"):
        step(make_watch(), canary, 2.0, 2.0)


def test_a_loss_that_is_no_number_is_refused() -> None:
    with pytest.raises(StepRejected):
        step(make_watch(), anchored(age=2), 1.0, float("nan"))


def test_looking_changes_no_weights_no_statistics_no_gradients_and_no_random_numbers() -> None:
    layer = nn.Sequential(nn.BatchNorm1d(WIDTH), nn.Dropout(0.5), nn.Linear(WIDTH, WIDTH)).train()
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    random = torch.get_rng_state()
    first = make_watch().loss_before(anchored(age=2), layer)
    assert first == make_watch().loss_before(anchored(age=2), layer)
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert all(p.grad is None for p in layer.parameters())
    assert all(module.training for module in layer.modules())
