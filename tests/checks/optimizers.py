"""What every registered optimizer promises; a test class inherits these checks."""

from __future__ import annotations

import copy
import json
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from app.config import OptimizerConfig
from app.training.optimizer_state import optimizer_state
from app.training.optimizers import OPTIMIZERS, build_optimizer
from app.training.trees import plain

# lr where every optimizer moves float32 weights of size 1 visibly; the others at their defaults.
LEARNING_RATE = 0.01
# Twenty evaluations a step, its default, say no more than four.
_ARGUMENTS = {"LBFGS": {"max_iter": 4}}


def make_module() -> nn.Module:
    module = nn.Linear(5, 3, bias=False)
    values = torch.linspace(-1, 1, 15).reshape(3, 5)
    module.load_state_dict({"weight": values})
    return module


def make_optimizer(name: str, module: nn.Module, **arguments: Any) -> Optimizer:
    document = {"type": name, "lr": LEARNING_RATE, **_ARGUMENTS.get(name, {}), **arguments}
    return build_optimizer(OptimizerConfig.model_validate(document), module)


def run(module: nn.Module, optimizer: Optimizer, *, first: int, steps: int) -> None:
    """Steps number `first` and on; the gradient depends on the weights and the number."""
    for number in range(first, first + steps):
        rows = torch.randn(4, 5, generator=torch.Generator().manual_seed(number))
        optimizer.step(partial(_evaluate, module, optimizer, rows))


def _evaluate(module: nn.Module, optimizer: Optimizer, rows: Tensor) -> Any:
    """A closure, which every optimizer takes and some need; torch types its loss as a float."""
    optimizer.zero_grad()
    loss = module(rows).square().mean()
    loss.backward()
    return loss.detach()


def _no_gradient() -> Any:
    return torch.zeros(())


def weight_of(module: nn.Module) -> torch.Tensor:
    return module.get_parameter("weight").detach().clone()


class OptimizerChecks:
    """Inherit to run every check on every registered optimizer."""

    @pytest.fixture(params=list(OPTIMIZERS))
    def name(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    def test_step_moves_the_parameter_in_place(self, name: str) -> None:
        module = make_module()
        parameter, before = module.get_parameter("weight"), weight_of(module)
        run(module, make_optimizer(name, module), first=0, steps=1)
        assert module.get_parameter("weight") is parameter
        assert not torch.equal(weight_of(module), before)

    def test_steps_lower_the_loss(self, name: str) -> None:
        module = make_module()
        before = weight_of(module).square().sum()
        # Muon and Adadelta start slowly at this lr
        run(module, make_optimizer(name, module), first=0, steps=50)
        assert weight_of(module).square().sum() < before

    def test_replay_gives_the_same_bits(self, name: str) -> None:
        first, second = make_module(), make_module()
        for module in (first, second):
            run(module, make_optimizer(name, module), first=0, steps=20)
        assert torch.equal(weight_of(first), weight_of(second))

    def test_state_dict_continues_with_the_same_bits(self, name: str) -> None:
        straight = make_module()
        optimizer = make_optimizer(name, straight)
        run(straight, optimizer, first=0, steps=10)
        resumed = copy.deepcopy(straight)
        other = make_optimizer(name, resumed)
        other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        run(straight, optimizer, first=10, steps=10)
        run(resumed, other, first=10, steps=10)
        assert torch.equal(weight_of(resumed), weight_of(straight))

    def test_parameter_without_gradient_is_left_alone(self, name: str) -> None:
        module = make_module()
        before = weight_of(module)
        make_optimizer(name, module).step(_no_gradient)
        assert torch.equal(weight_of(module), before)

    def test_all_it_remembers_is_tensors_and_json(self, name: str) -> None:
        module = make_module()
        optimizer = make_optimizer(name, module)
        run(module, optimizer, first=0, steps=1)
        for entry in optimizer_state(module, optimizer).values():
            assert json.dumps({key: plain(tree) for key, tree in entry.items()})
        (group,) = optimizer.param_groups
        assert json.dumps({k: v for k, v in group.items() if k != "params"})
