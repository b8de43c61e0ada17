"""Schedules: how they are declared, what they remember, and what a change of the rate does."""

from __future__ import annotations

import inspect
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.optim import SGD, Optimizer, lr_scheduler

from app.config import Component
from app.errors import ArtifactInvalid, ConfigInvalid, StepRejected
from app.training.optimizers import build_optimizer
from app.training.schedule import Schedule
from app.training.schedulers import SCHEDULERS
from app.training.trainer import Trainer
from app.types import Configure, Replace, Rollback, TrainerState
from tests.unit.training.examples import bits, make_step, one_thread
from tests.unit.training.test_declared_training import ARGUMENTS, declared, train

__all__ = ["one_thread"]

LEFT_OUT = {
    "LRScheduler": "the base of the others",
    "_LRScheduler": "its old name",
    "LambdaLR": "takes a Python function",
    "MultiplicativeLR": "takes a Python function",
    "ChainedScheduler": "is what a list of schedulers is",
}


def make_optimizer(rate: float = 0.5) -> Optimizer:
    return SGD([torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(3))], lr=rate)


def make(*documents: dict[str, Any], optimizer: Optimizer | None = None) -> Schedule:
    components = [Component.model_validate(document) for document in documents]
    return Schedule(components, optimizer or make_optimizer())


def advance(schedule: Schedule, optimizer: Optimizer, steps: int) -> list[float]:
    """The rates of so many steps; the loss falls at first."""
    rates = []
    for number in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.advance(max(10.0 - number, 7.0))
    return rates


def test_registry_holds_what_torch_has() -> None:
    found = {
        name
        for name, member in vars(lr_scheduler).items()
        if inspect.isclass(member) and issubclass(member, lr_scheduler.LRScheduler)
    }
    assert set(SCHEDULERS) == found - set(LEFT_OUT)
    assert set(LEFT_OUT) < found
    assert len(SCHEDULERS) == 12


@pytest.mark.parametrize("name", list(SCHEDULERS))
def test_all_that_moves_in_a_scheduler_is_remembered(name: str) -> None:
    optimizer = make_optimizer()
    schedule = make({"type": name, **ARGUMENTS[name]}, optimizer=optimizer)
    (before,), (scheduler,) = schedule.state, schedule._schedulers
    first = {key: repr(value) for key, value in vars(scheduler).items()}
    advance(schedule, optimizer, 30)
    moved = {key for key, value in vars(scheduler).items() if repr(value) != first[key]}
    # The rates stand in the groups; torch looks at `_last_lr` only to tell it to others.
    assert moved - {"_last_lr", "optimizer"} <= before.keys() | {"_schedulers"}


STEP = {"type": "StepLR", "step_size": 3}
SEQUENCE = {"type": "SequentialLR", "schedulers": [STEP, STEP], "milestones": [5]}
BAD: list[tuple[list[dict[str, Any]], str]] = [
    ([{"type": "LambdaLR"}], "/scheduler/0/type"),
    ([{"type": "StepLR"}], "/scheduler/0/step_size"),
    ([{**STEP, "step_size": 0}], "/scheduler/0/step_size"),
    ([{**STEP, "step_size": 2.0}], "/scheduler/0/step_size"),
    ([{**STEP, "step_size": True}], "/scheduler/0/step_size"),
    ([{**STEP, "gamma": math.inf}], "/scheduler/0/gamma"),
    ([{**STEP, "gamma": -0.1}], "/scheduler/0/gamma"),
    ([{**STEP, "last_epoch": 3}], "/scheduler/0/last_epoch"),
    ([{**STEP, "optimizer": {}}], "/scheduler/0/optimizer"),
    ([STEP, {**STEP, "steps": 3}], "/scheduler/1/steps"),
    ([{"type": "MultiStepLR", "milestones": 3}], "/scheduler/0/milestones"),
    ([{"type": "MultiStepLR", "milestones": [3, "4"]}], "/scheduler/0/milestones/1"),
    ([{"type": "ConstantLR", "factor": 0}], "/scheduler/0/factor"),
    ([{"type": "CosineAnnealingLR", "T_max": 0}], "/scheduler/0/T_max"),
    ([{"type": "CosineAnnealingLR", "T_max": 5, "eta_min": -1}], "/scheduler/0/eta_min"),
    ([{"type": "ReduceLROnPlateau", "mode": "least"}], "/scheduler/0/mode"),
    ([{"type": "ReduceLROnPlateau", "factor": 1.0}], "/scheduler/0/factor"),
    ([{"type": "ReduceLROnPlateau", "min_lr": [0.1, 0.1, 0.1]}], "/scheduler/0/min_lr"),
    ([{"type": "OneCycleLR", "max_lr": 0.1}], "/scheduler/0/total_steps"),
    ([{"type": "OneCycleLR", "max_lr": 1e4, "total_steps": 9}], "/scheduler/0/max_lr"),
    ([{"type": "OneCycleLR", "max_lr": 9, "total_steps": 9, "div_factor": 0.01}], "/scheduler/0"),
    ([{"type": "CyclicLR", "base_lr": 0.1, "max_lr": 1, "scale_fn": "x"}], "/scheduler/0/scale_fn"),
    ([STEP, {"type": "CosineAnnealingWarmRestarts", "T_0": 3}], "/scheduler/1/type"),
    ([SEQUENCE, STEP], "/scheduler/0/type"),
    ([{**SEQUENCE, "milestones": [5, 6]}], "/scheduler/0/milestones"),
    ([{**SEQUENCE, "schedulers": [STEP] * 3, "milestones": [6, 5]}], "/scheduler/0/milestones/1"),
    ([{"type": "SequentialLR", "milestones": []}], "/scheduler/0/schedulers"),
    ([{**SEQUENCE, "schedulers": [STEP, 3]}], "/scheduler/0/schedulers/1"),
    ([{**SEQUENCE, "schedulers": [STEP, SEQUENCE]}], "/scheduler/0/schedulers/1/type"),
    (
        [{**SEQUENCE, "schedulers": [STEP, {"type": "StepLR"}]}],
        "/scheduler/0/schedulers/1/step_size",
    ),
]


@pytest.mark.parametrize(("documents", "pointer"), BAD, ids=str)
def test_bad_schedules_are_refused_with_their_pointer(
    documents: list[dict[str, Any]], pointer: str
) -> None:
    with pytest.raises(ConfigInvalid) as refusal:
        Trainer(declared({"scheduler": documents}))
    assert refusal.value.pointer == pointer


def test_a_cycle_of_momentum_needs_an_optimizer_that_has_one() -> None:
    cycle = {"type": "CyclicLR", **ARGUMENTS["CyclicLR"]}
    case = {"optimizer": {"type": "Adagrad"}, "scheduler": [cycle]}
    with pytest.raises(ConfigInvalid, match="neither momentum nor betas") as refused:
        Trainer(declared(case))
    assert refused.value.pointer == "/scheduler/0/cycle_momentum"
    still = {**cycle, "cycle_momentum": False}
    assert Trainer(declared({**case, "scheduler": [still]})).learning_rates == (1e-3,)


# Of these the rates follow from the base alone, so that a factor of two is exact.
_HALVED = {"base_lr": 0.25, "max_lr": 0.5, "eta_min": 0.0}


@pytest.mark.parametrize("name", list(SCHEDULERS))
@pytest.mark.parametrize("at", [0, 4, 9])
def test_a_new_base_rate_gives_the_schedule_of_that_rate_from_then_on(name: str, at: int) -> None:
    arguments = {k: _HALVED.get(k, v) for k, v in ARGUMENTS[name].items()}
    if name == "SequentialLR":
        arguments["schedulers"] = [STEP, {"type": "CosineAnnealingLR", "T_max": 8}]
    doubled = {k: 2 * v if k in {"base_lr", "max_lr"} else v for k, v in arguments.items()}
    optimizer, other = make_optimizer(0.5), make_optimizer(1.0)
    schedule = make({"type": name, **arguments}, optimizer=optimizer)
    wanted = make({"type": name, **doubled}, optimizer=other)
    advance(schedule, optimizer, at)
    advance(wanted, other, at)
    schedule.rebase([2 * group["initial_lr"] for group in optimizer.param_groups])
    assert advance(schedule, optimizer, 12) == advance(wanted, other, 12)


def test_without_schedule_the_base_rate_is_the_rate() -> None:
    optimizer = make_optimizer()
    make(optimizer=optimizer).rebase([3.0])
    assert [group["lr"] for group in optimizer.param_groups] == [3.0]


def test_each_group_keeps_its_own_base() -> None:
    groups = {"type": "SGD", "lr": 0.5, "groups": [{"match": "Q", "lr": 0.25}]}
    layers = [{"type": "QRReduction", "n_components": 6, "bias": True}]
    trainer = Trainer(declared({"optimizer": groups, "scheduler": [STEP]}, layers=layers))
    train(trainer, range(4))
    assert trainer.learning_rates == (0.25 * 0.1, 0.5 * 0.1)
    trainer.apply(Configure(learning_rates=(1.0, 2.0)))
    assert trainer.learning_rates == (0.1, 2.0 * 0.1)


def test_a_base_rate_whose_schedule_leaves_the_range_is_refused_and_nothing_is_set() -> None:
    cycle = {"type": "OneCycleLR", "max_lr": 1.0, "total_steps": 30}
    trainer = Trainer(declared({"scheduler": [cycle]}))
    before = bits(trainer.state())
    with pytest.raises(ConfigInvalid) as refusal:
        trainer.apply(Configure(learning_rates=(50.0,)))
    assert refusal.value.pointer == "/lr"
    assert bits(trainer.state()) == before


@pytest.mark.parametrize("gamma", [10.0, 1000.0])
def test_a_step_after_which_the_rate_would_leave_the_range_is_refused(gamma: float) -> None:
    growing = {"type": "StepLR", "step_size": 5, "gamma": gamma}
    trainer = Trainer(declared({"scheduler": [growing], "optimizer": {"type": "SGD", "lr": 20}}))
    train(trainer, range(4))
    before = bits(trainer.state())
    for _ in range(2):
        with pytest.raises(StepRejected) as refusal:
            trainer.train(make_step(4))
        assert (refusal.value.reason, bits(trainer.state())) == ("learning_rate", before)
    trainer.apply(Configure(learning_rates=(1e-4,)))
    assert trainer.train(make_step(4)).learning_rates == (1e-4,)


def test_one_cycle_stays_at_its_last_rate_where_torch_raises() -> None:
    optimizer, other = make_optimizer(), make_optimizer()
    schedule = make({"type": "OneCycleLR", "max_lr": 1, "total_steps": 9}, optimizer=optimizer)
    plain = lr_scheduler.OneCycleLR(other, 1, total_steps=9)
    rates = advance(schedule, optimizer, 40)
    wanted = []
    for _ in range(9):
        wanted.append(other.param_groups[0]["lr"])
        other.step()
        plain.step()
    assert rates == wanted + wanted[-1:] * 31


def test_halving_cycles_go_on_where_torch_overflows() -> None:
    arguments = {"base_lr": 0.1, "max_lr": 1.0, "step_size_up": 1, "mode": "triangular2"}
    optimizer, other = make_optimizer(), make_optimizer()
    schedule = make({"type": "CyclicLR", **arguments}, optimizer=optimizer)
    plain: Any = lr_scheduler.CyclicLR(other, **arguments)  # type: ignore[arg-type]  # as torch has them
    wanted = []
    for _ in range(2047):
        wanted.append(other.param_groups[0]["lr"])
        other.step()
        plain.step()
    with pytest.raises(OverflowError):
        plain.step()
    assert advance(schedule, optimizer, 2100)[: len(wanted)] == wanted


def test_weights_from_elsewhere_begin_the_schedule_again_from_the_present_base() -> None:
    trainer = Trainer(declared({"scheduler": [{**STEP, "gamma": 0.5}]}))
    train(trainer, range(4))
    trainer.apply(Configure(learning_rates=(0.5,)))
    assert trainer.learning_rates == (0.25,)
    tensors = {name: tensor.numpy() for name, tensor in trainer.serving().items()}
    trainer.apply(Replace(tensors=tensors))
    rates = [outcome.learning_rates for outcome in train(trainer, range(4))]
    assert rates == [(0.5,), (0.5,), (0.5,), (0.25,)]


def test_rollback_brings_the_schedule_back() -> None:
    trainer = Trainer(declared({"scheduler": [STEP]}))
    train(trainer, range(2))
    state = trainer.state()
    wanted = [outcome.learning_rates for outcome in train(trainer, range(9))]
    trainer.apply(Rollback(to=3, state=state))
    assert [outcome.learning_rates for outcome in train(trainer, range(9))] == wanted


def test_a_rate_that_has_come_down_to_zero_is_saved_and_loaded() -> None:
    case = {"scheduler": [{"type": "PolynomialLR", "total_iters": 3}]}
    trainer, other = Trainer(declared(case)), Trainer(declared(case))
    train(trainer, range(5))
    other.restore(trainer.state())
    assert other.learning_rates == (0.0,)


WRONG: dict[str, Any] = {
    "none": None,
    "no list": {"schedulers": 3},
    "two": {"schedulers": [{}, {}]},
    "another": {"schedulers": [{"last_epoch": 1, "_step_count": 2, "T_cur": 1}]},
    "not a number": {"schedulers": [{"last_epoch": "1", "_step_count": 2, "base_lrs": [0.05]}]},
    "NaN": {"schedulers": [{"last_epoch": math.nan, "_step_count": 2, "base_lrs": [0.05]}]},
    "more groups": {"schedulers": [{"last_epoch": 1, "_step_count": 2, "base_lrs": [1, 1]}]},
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_a_schedule_that_is_not_the_configs_is_refused(wrong: Any) -> None:
    trainer = Trainer(declared({"scheduler": [STEP]}))
    train(trainer, range(4))
    state, before = trainer.state(), bits(trainer.state())
    scalars = {**state.scalars, "schedule": wrong}
    with pytest.raises(ArtifactInvalid):
        trainer.restore(replace(state, scalars={k: v for k, v in scalars.items() if v is not None}))
    assert bits(trainer.state()) == before


def test_a_state_with_a_schedule_is_none_of_a_model_without() -> None:
    state: TrainerState = Trainer(declared({"scheduler": [STEP]})).state()
    with pytest.raises(ArtifactInvalid):
        Trainer(declared({})).restore(state)


def test_a_model_without_schedule_has_the_state_that_it_had_before_there_were_any() -> None:
    assert set(Trainer(declared({})).state().scalars) == {"optimizer", "groups"}
    group = build_optimizer(declared({}).optimizer, torch.nn.Linear(2, 2)).param_groups[0]
    assert "initial_lr" not in group
