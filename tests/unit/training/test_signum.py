from __future__ import annotations

from typing import Any

import pytest
import torch

from app.training.signum import Signum


def make(values: list[float], **arguments: Any) -> tuple[torch.nn.Parameter, Signum]:
    parameter = torch.nn.Parameter(torch.tensor(values))
    return parameter, Signum([parameter], **arguments)


def step(parameter: torch.nn.Parameter, optimizer: Signum, gradient: list[float]) -> list[float]:
    parameter.grad = torch.tensor(gradient)
    optimizer.step()
    return parameter.tolist()


def test_without_momentum_it_moves_by_lr_against_the_sign_and_keeps_no_state() -> None:
    parameter, optimizer = make([0.0, 0.0, 0.0], lr=0.5, momentum=0.0)
    assert step(parameter, optimizer, [1e-30, -1e30, 0.0]) == [-0.5, 0.5, 0.0]
    assert not optimizer.state


def test_momentum_decides_the_sign() -> None:
    parameter, optimizer = make([0.0], lr=1.0, momentum=0.75)
    moves = [step(parameter, optimizer, [g])[0] for g in (1.0, -0.5, -0.5, -0.5)]
    # m = 0.25, 0.0625, -0.078125, -0.18359375: the second move still follows the first gradient
    assert moves == [-1.0, -2.0, -1.0, 0.0]
    assert optimizer.state[parameter]["momentum_buffer"].item() == -0.18359375


def test_weight_decay_is_decoupled() -> None:
    parameter, optimizer = make([4.0], lr=0.5, momentum=0.5, weight_decay=0.25)
    assert step(parameter, optimizer, [1.0]) == [4.0 * (1 - 0.125) - 0.5]
    assert optimizer.state[parameter]["momentum_buffer"].item() == 0.5


def test_closure_is_called_with_gradients_on() -> None:
    parameter, optimizer = make([2.0], lr=0.5)

    def closure() -> float:
        loss = parameter.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        return loss.item()

    assert optimizer.step(closure) == 4.0
    assert parameter.tolist() == [1.5]


@pytest.mark.parametrize("arguments", [{"lr": -1.0}, {"momentum": 1.0}, {"weight_decay": -0.1}])
def test_arguments_out_of_range_are_refused(arguments: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected"):
        make([0.0], **arguments)
