"""Optimizers that evaluate the loss more than once in a step."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from app.errors import ArtifactInvalid, StepRejected
from app.training.trainer import Trainer
from app.training.trees import TENSOR
from app.types import TrainerState
from tests.unit.training.examples import bits, make_step, one_thread
from tests.unit.training.test_declared_training import LBFGS, declared, through_json, train

__all__ = ["one_thread"]

DROPPING = [
    {"type": "Linear", "out_features": 8},
    {"type": "Dropout", "p": 0.5},
    {"type": "QRReduction", "n_components": 4, "bias": True, "parametrization": "qr"},
]
STACKS: dict[str, list[dict[str, Any]]] = {
    "dropout": DROPPING,
    "qr": [{"type": "QRReduction", "n_components": 6, "parametrization": "qr"}],
    "orthogonal": [{"type": "QRReduction", "n_components": 6, "parametrization": "orthogonal"}],
}


@pytest.mark.parametrize("layers", STACKS.values(), ids=STACKS)
def test_any_layers_are_saved_and_continued(layers: list[dict[str, Any]]) -> None:
    straight, resumed = (Trainer(declared({"optimizer": LBFGS}, layers=layers)) for _ in range(2))
    train(straight, range(3))
    resumed.restore(through_json(straight.state()))
    assert train(resumed, range(3, 6)) == train(straight, range(3, 6))
    assert bits(resumed.state()) == bits(straight.state())


def test_a_step_counts_once_and_tells_the_first_loss() -> None:
    plain, closing = Trainer(declared({})), Trainer(declared({"optimizer": LBFGS}))
    first, outcome = plain.train(make_step(0)), closing.train(make_step(0))
    assert (outcome.loss, outcome.grad_norm) == (first.loss, first.grad_norm)
    assert (closing.version, closing.step) == (2, 1)
    assert closing.state().scalars["optimizer_state"]["Q_reduced"]["func_evals"] == 4


@pytest.mark.parametrize("before", [0, 2])
def test_an_evaluation_that_is_not_finite_refuses_the_step_and_undoes_it(before: int) -> None:
    trainer = Trainer(declared({"optimizer": LBFGS, "loss": "reconstruction"}))
    for seed in range(before):
        trainer.train(make_step(seed, "reconstruction"))
    trainer.optimizer.param_groups[0].update(lr=100.0, max_iter=40, max_eval=50)
    state = bits(trainer.state())
    with pytest.raises(StepRejected) as refusal:
        trainer.train(make_step(7, "reconstruction"))
    assert (refusal.value.reason, bits(trainer.state())) == ("non_finite_gradient", state)


def _entry(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    def changed(state: TrainerState) -> TrainerState:
        entry = json.loads(json.dumps(state.scalars["optimizer_state"]["Q_reduced"]))
        return replace(
            state, scalars={**state.scalars, "optimizer_state": {"Q_reduced": change(entry)}}
        )

    return changed


WRONG: dict[str, Any] = {
    "numbers gone": lambda s: replace(
        s, scalars={k: v for k, v in s.scalars.items() if k != "optimizer_state"}
    ),
    "of another parameter": lambda s: replace(
        s,
        scalars={
            **s.scalars,
            "optimizer_state": {"bias": s.scalars["optimizer_state"]["Q_reduced"]},
        },
    ),
    "one key missing": _entry(lambda e: {k: v for k, v in e.items() if k != "t"}),
    "a further key": _entry(lambda e: {**e, "al": [None]}),
    "a word for a number": _entry(lambda e: {**e, "n_iter": "4"}),
    "not finite": _entry(lambda e: {**e, "prev_loss": math.inf}),
    "a tensor for a number": _entry(lambda e: {**e, "prev_loss": TENSOR}),
    "a number for a vector": _entry(lambda e: {**e, "d": 1.0}),
    "lists of different lengths": _entry(lambda e: {**e, "ro": [1.0]}),
    "a vector for a list": _entry(lambda e: {**e, "old_dirs": TENSOR}),
    "a vector of another length": lambda s: replace(
        s, arrays={**s.arrays, "optimizer.Q_reduced.d": np.zeros(3, np.float32)}
    ),
    "a vector that nobody asked for": lambda s: replace(
        s, arrays={**s.arrays, "optimizer.Q_reduced.al.0": np.zeros((), np.float32)}
    ),
    "no words at all": lambda s: replace(s, scalars={**s.scalars, "optimizer_state": 3}),
}


@pytest.mark.parametrize("change", WRONG.values(), ids=WRONG)
def test_a_memory_that_is_not_this_optimizers_is_refused(change: Any) -> None:
    trainer = Trainer(declared({"optimizer": LBFGS}))
    train(trainer, range(3))
    before = bits(trainer.state())
    with pytest.raises(ArtifactInvalid):
        trainer.restore(change(trainer.state()))
    assert bits(trainer.state()) == before


def test_numbers_are_refused_for_an_optimizer_that_keeps_none() -> None:
    trainer = Trainer(declared({}))
    train(trainer, range(2))
    state = trainer.state()
    with pytest.raises(ArtifactInvalid):
        trainer.restore(replace(state, scalars={**state.scalars, "optimizer_state": {}}))


def test_a_moment_number_that_is_not_finite_refuses_the_step() -> None:
    trainer = Trainer(declared({"optimizer": LBFGS}))
    train(trainer, range(2))
    entry = trainer.optimizer.state[trainer.layer.get_parameter("Q_reduced")]
    entry["old_dirs"][0] = torch.full_like(entry["old_dirs"][0], math.nan)
    with pytest.raises(StepRejected) as refusal:
        trainer.guards.check_update(trainer.layer, trainer.optimizer)
    assert refusal.value.reason == "non_finite_optimizer_state"


def test_the_first_evaluation_is_the_steps_own() -> None:
    layers = [{"type": "BatchNorm1d"}, {"type": "QRReduction", "n_components": 4}]
    trainer = Trainer(declared({"optimizer": LBFGS}, layers=layers))
    train(trainer, [0])
    counted = trainer.layer.get_buffer("0.num_batches_tracked").item()
    (entry,) = trainer.state().scalars["optimizer_state"].values()
    assert counted == entry["func_evals"] > 1
