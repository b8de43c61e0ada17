"""Nothing that is not finite passes; the traps that make each check necessary are beside it."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn.utils import get_total_norm

from app.errors import StepRejected
from app.training.guards.finite import (
    check_gradients,
    check_loss,
    check_optimizer_state,
    check_weights,
    is_finite,
)

BAD = [math.nan, math.inf, -math.inf]


def layer_with(gradient: list[float]) -> nn.Module:
    layer = nn.Linear(len(gradient), 1, bias=False)
    layer.weight.grad = torch.tensor([gradient])
    return layer


def test_finite_loss_is_returned() -> None:
    assert check_loss(torch.tensor(0.5)) == 0.5


@pytest.mark.parametrize("value", BAD)
def test_loss_that_is_not_finite_is_refused(value: float) -> None:
    with pytest.raises(StepRejected) as refusal:
        check_loss(torch.tensor(value))
    assert (refusal.value.code, refusal.value.reason) == ("step_rejected", "non_finite_loss")


@pytest.mark.parametrize("scale", [1e-18, 1.0, 1e16])
@pytest.mark.parametrize("bias", [False, True])
def test_gradient_norm_has_the_bits_of_torch(scale: float, bias: bool) -> None:
    layer = nn.Linear(96, 7, bias=bias)
    generator = torch.Generator().manual_seed(3)
    for parameter in layer.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator) * scale
    gradients = [p.grad for p in layer.parameters() if p.grad is not None]
    assert check_gradients(layer) == float(get_total_norm(gradients))


def test_gradient_norm_is_returned() -> None:
    assert check_gradients(layer_with([3.0, 4.0])) == 5.0


@pytest.mark.parametrize("value", [*BAD, 3e38])
def test_gradient_without_a_finite_norm_is_refused(value: float) -> None:
    with pytest.raises(StepRejected) as refusal:
        check_gradients(layer_with([0.0, value, value]))
    assert refusal.value.reason == "non_finite_gradient"


@pytest.mark.parametrize(
    ("gradient", "clipped"),
    [
        ([1.0, math.nan], [math.nan] * 2),
        ([1.0, math.inf], [0.0, math.nan]),
        ([2e38] * 2, [0.0, 0.0]),
    ],
)
def test_trap_clipping_spreads_what_is_not_finite(
    gradient: list[float], clipped: list[float]
) -> None:
    layer = layer_with(gradient)
    nn.utils.clip_grad_norm_(layer.parameters(), 1.0)
    assert layer.get_parameter("weight").grad is not None
    torch.testing.assert_close(
        layer.get_parameter("weight").grad, torch.tensor([clipped]), equal_nan=True
    )


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("name", ["weight", "running_mean"])
def test_weights_and_buffers_that_are_not_finite_are_refused(name: str, value: float) -> None:
    layer = nn.BatchNorm1d(3)
    check_weights(layer)
    layer.state_dict()[name][1] = value
    with pytest.raises(StepRejected) as refusal:
        check_weights(layer)
    assert refusal.value.reason == "non_finite_weight"


def test_trap_adam_after_a_huge_gradient_has_finite_weights_and_is_frozen() -> None:
    layer = layer_with([1e30, 1e30])
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.1)
    optimizer.step()
    check_weights(layer)
    with pytest.raises(StepRejected) as refusal:
        check_optimizer_state(optimizer)
    assert refusal.value.reason == "non_finite_optimizer_state"


def test_finite_optimizer_state_passes() -> None:
    layer = layer_with([1.0, 2.0])
    optimizer = torch.optim.Adam(layer.parameters())
    check_optimizer_state(optimizer)
    optimizer.step()
    check_optimizer_state(optimizer)


def test_trap_sign_hides_nan() -> None:
    assert torch.tensor(math.nan).sign().item() == 0.0


@pytest.mark.parametrize(
    ("values", "expected"),
    [([], True), ([3.4e38, -3.4e38], True), ([1e-45], True), ([1.0, math.nan], False)],
)
def test_is_finite(values: list[float], expected: bool) -> None:
    assert is_finite([torch.tensor(values), torch.tensor([1, 2])]) is expected


def test_nothing_is_finite() -> None:
    assert is_finite([])
