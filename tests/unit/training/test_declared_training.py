"""Optimizers, schedulers, clipping and accumulation do what the same words do in plain PyTorch."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

from app.config import Component, ModelConfig, parse_config
from app.training.optimizers import OPTIMIZERS
from app.training.schedulers import SCHEDULERS
from app.training.trainer import StepOutcome, Trainer
from app.types import TrainerState
from tests.unit.training.examples import (
    INPUT_SIZE,
    N_COMPONENTS,
    bits,
    make_rows,
    make_step,
    one_thread,
)

__all__ = ["one_thread"]

SGD = {"type": "SGD", "lr": 0.05, "momentum": 0.9}
ADAM = {"type": "Adam", "lr": 1e-2}
WARM = {"type": "LinearLR", "start_factor": 0.1, "total_iters": 5}
COSINE = {"type": "CosineAnnealingLR", "T_max": 8, "eta_min": 1e-4}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "ConstantLR": {"factor": 0.25, "total_iters": 7},
    "CosineAnnealingLR": {"T_max": 8},
    "CosineAnnealingWarmRestarts": {"T_0": 3, "T_mult": 2, "eta_min": 1e-3},
    "CyclicLR": {"base_lr": 1e-3, "max_lr": 0.1, "step_size_up": 3, "mode": "triangular2"},
    "ExponentialLR": {"gamma": 0.9},
    "LinearLR": {"start_factor": 0.1, "total_iters": 8},
    "MultiStepLR": {"milestones": [3, 4, 11], "gamma": 0.5},
    "OneCycleLR": {"max_lr": 0.1, "total_steps": 22},
    "PolynomialLR": {"total_iters": 15, "power": 2.0},
    "ReduceLROnPlateau": {"patience": 1, "cooldown": 1, "factor": 0.5, "threshold": 0.2},
    "SequentialLR": {"schedulers": [WARM, COSINE], "milestones": [5]},
    "StepLR": {"step_size": 4, "gamma": 0.5},
}
LBFGS = {"type": "LBFGS", "lr": 0.1, "max_iter": 4, "history_size": 3}

CASES: dict[str, dict[str, Any]] = {
    **{name: {"optimizer": {"type": name}} for name in OPTIMIZERS if name != "LBFGS"},
    **{name: {"scheduler": [{"type": name, **ARGUMENTS[name]}]} for name in SCHEDULERS},
    "LBFGS": {"optimizer": LBFGS},
    "LBFGS with a line search": {"optimizer": {**LBFGS, "line_search_fn": "strong_wolfe"}},
    "LBFGS, clipped and scheduled": {
        "optimizer": LBFGS,
        "scheduler": [WARM],
        "gradient_clipping": {"max_norm": 0.1},
    },
    "momentum of Adam in a cycle": {
        "optimizer": ADAM,
        "scheduler": [{"type": "OneCycleLR", **ARGUMENTS["OneCycleLR"]}],
    },
    "momentum that only the cycle has": {
        "optimizer": {"type": "RMSprop", "lr": 1e-3},
        "scheduler": [{"type": "CyclicLR", **ARGUMENTS["CyclicLR"]}],
    },
    "three schedulers": {"scheduler": [WARM, COSINE, {"type": "ExponentialLR", "gamma": 0.95}]},
    "clipped entries": {"gradient_clipping": {"clip_value": 1e-3}},
    "clipped norm": {"gradient_clipping": {"max_norm": 0.01}},
    "clipped by the largest": {"gradient_clipping": {"max_norm": 1e-3, "norm_type": "inf"}},
    "both clipped": {"gradient_clipping": {"clip_value": 3e-3, "max_norm": 0.02, "norm_type": 1.0}},
    "accumulated": {"accumulate": 3},
    "accumulated, clipped, scheduled": {
        "accumulate": 4,
        "optimizer": ADAM,
        "gradient_clipping": {"max_norm": 0.01},
        "scheduler": [{"type": "ReduceLROnPlateau", "patience": 0, "threshold": 0.5}],
    },
}
each_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def declared(case: dict[str, Any], **more: Any) -> ModelConfig:
    layer = {"type": "QRReduction", "n_components": N_COMPONENTS}
    document = {"input_size": INPUT_SIZE, "layers": [layer], "recipe": "plain", "seed": 5}
    return parse_config({**document, "optimizer": SGD, **case, **more})


def train(trainer: Trainer, seeds: Iterable[int]) -> list[StepOutcome]:
    return [trainer.train(make_step(seed)) for seed in seeds]


def through_json(state: TrainerState) -> TrainerState:
    return replace(state, scalars=json.loads(json.dumps(state.scalars)))


def similarity(x: Tensor, q: Tensor) -> Tensor:
    full, small = F.normalize(x, dim=-1), F.normalize(x @ q.T, dim=-1)
    return ((full @ full.T - small @ small.T) ** 2).mean()


class PlainLoop:
    """The loop that a PyTorch user would write for the same words."""

    def __init__(self, config: ModelConfig, q: Tensor) -> None:
        self.config, self.q = config, torch.nn.Parameter(q)
        optimizer = OPTIMIZERS[config.optimizer.type]
        self.optimizer: Any = optimizer([self.q], **config.optimizer.arguments)
        self.schedulers = [self._scheduler(component) for component in config.scheduler]
        self.losses: list[float] = []

    def _scheduler(self, component: Component) -> Any:
        arguments = component.arguments
        if "schedulers" in arguments:
            parts = [Component.model_validate(part) for part in arguments["schedulers"]]
            arguments["schedulers"] = [self._scheduler(part) for part in parts]
        return getattr(torch.optim.lr_scheduler, component.type)(self.optimizer, **arguments)

    def evaluate(self, x: Tensor) -> Tensor:
        value = similarity(x, self.q)
        value.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        return value

    def clip(self) -> None:
        limits = self.config.gradient_clipping
        if limits.clip_value:
            clip_grad_value_([self.q], limits.clip_value)
        if limits.max_norm:
            clip_grad_norm_([self.q], limits.max_norm, float(limits.norm_type))

    def step(self, seed: int) -> tuple[float, float]:
        """The loss and the learning rate of one step."""
        x, rate = torch.tensor(make_rows(seed)), self.optimizer.param_groups[0]["lr"]

        def closure() -> Tensor:
            self.optimizer.zero_grad()
            value = self.evaluate(x)
            self.clip()
            return value

        if self.config.accumulate == 1:
            self.losses = [self.optimizer.step(closure).item()]
        else:
            self.losses.append(self.evaluate(x).item())
        loss = self.losses[-1]
        if len(self.losses) == self.config.accumulate:
            self._finish()
        return loss, rate

    def _finish(self) -> None:
        if self.config.accumulate > 1:
            assert self.q.grad is not None
            self.q.grad /= self.config.accumulate
            self.clip()
            self.optimizer.step()
            self.optimizer.zero_grad()
        mean = sum(self.losses) / len(self.losses)
        for scheduler in self.schedulers:
            is_watching = isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau)
            scheduler.step(*([mean] if is_watching else []))
        self.losses = []


def test_every_scheduler_is_in_the_battery() -> None:
    assert set(ARGUMENTS) == set(SCHEDULERS)


@each_case
def test_twenty_steps_equal_a_plain_loop_bit_for_bit(case: dict[str, Any]) -> None:
    trainer = Trainer(declared(case))
    plain = PlainLoop(declared(case), trainer.serving()["Q_reduced"])
    for seed in range(20):
        outcome = trainer.train(make_step(seed))
        assert (outcome.loss, *outcome.learning_rates) == plain.step(seed)
    assert torch.equal(trainer.serving()["Q_reduced"], plain.q.detach())


@each_case
@pytest.mark.parametrize("at", [0, 1, 11])
def test_saved_loaded_and_continued_equals_never_stopped(case: dict[str, Any], at: int) -> None:
    straight, resumed = Trainer(declared(case)), Trainer(declared(case))
    train(straight, range(at))
    resumed.restore(through_json(straight.state()))
    assert bits(resumed.state()) == bits(straight.state())
    assert train(resumed, range(20, 30)) == train(straight, range(20, 30))
    assert bits(resumed.state()) == bits(straight.state())
    assert resumed.state_digest() == straight.state_digest()


@each_case
@pytest.mark.parametrize("at", [0, 5])
def test_undo_is_bit_for_bit_and_so_is_what_follows(case: dict[str, Any], at: int) -> None:
    straight, undone = Trainer(declared(case)), Trainer(declared(case))
    train(straight, range(at))
    train(undone, range(at))
    savepoint = undone.savepoint()
    train(undone, range(50, 57))
    savepoint.restore()
    assert bits(undone.state()) == bits(straight.state())
    assert train(undone, range(20, 28)) == train(straight, range(20, 28))
    assert bits(undone.state()) == bits(straight.state())


@each_case
def test_replay_gives_the_same_state(case: dict[str, Any]) -> None:
    first, second = Trainer(declared(case)), Trainer(declared(case))
    assert train(first, range(12)) == train(second, range(12))
    assert first.state_digest() == second.state_digest()
