"""Gradients between the backward pass and the optimizer's step."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from app.config import parse_config
from app.errors import ArtifactInvalid, ConfigInvalid, StepRejected
from app.training.gradients import Accumulated
from app.training.trainer import Trainer
from app.types import Replace
from tests.unit.training.examples import bits, make_rows, make_step, one_thread
from tests.unit.training.test_declared_training import (
    LBFGS,
    SGD,
    declared,
    similarity,
    train,
)

__all__ = ["one_thread"]


def weights(trainer: Trainer) -> bytes:
    return trainer.serving()["Q_reduced"].numpy().tobytes()


def test_only_the_last_of_the_steps_updates_the_weights() -> None:
    trainer = Trainer(declared({"accumulate": 3}))
    seen = []
    for seed in range(6):
        before = weights(trainer)
        outcome = trainer.train(make_step(seed))
        stands = (trainer.version, trainer.step)
        seen.append((outcome.update, *stands, weights(trainer) != before))
    assert seen == [
        ("accumulated", 2, 0, False),
        ("accumulated", 3, 0, False),
        ("gradient", 4, 1, True),
        ("accumulated", 5, 1, False),
        ("accumulated", 6, 1, False),
        ("gradient", 7, 2, True),
    ]


def test_an_average_over_four_is_the_loss_divided_by_four_bit_for_bit() -> None:
    trainer = Trainer(declared({"accumulate": 4}))
    q = torch.nn.Parameter(trainer.serving()["Q_reduced"])
    optimizer = torch.optim.SGD([q], lr=SGD["lr"], momentum=SGD["momentum"])  # type: ignore[arg-type]  # numbers
    for seed in range(12):
        (similarity(torch.tensor(make_rows(seed)), q) / 4).backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        if seed % 4 == 3:
            optimizer.step()
            optimizer.zero_grad()
    train(trainer, range(12))
    assert torch.equal(trainer.serving()["Q_reduced"], q.detach())


@pytest.mark.parametrize("case", [{"accumulate": 2}, {"gradient_clipping": {"max_norm": 1e-3}}])
def test_the_gradient_norm_is_of_the_step_itself_before_clipping(case: dict[str, Any]) -> None:
    plain, other = Trainer(declared({})), Trainer(declared(case))
    assert other.train(make_step(0)).grad_norm == plain.train(make_step(0)).grad_norm
    assert weights(other) != weights(plain)


def test_a_gradient_that_waits_is_in_the_state_and_its_digest() -> None:
    trainer = Trainer(declared({"accumulate": 3}))
    first = trainer.state_digest()
    train(trainer, [0])
    state = trainer.state()
    assert trainer.state_digest() != first
    assert state.arrays["gradients.Q_reduced"].any()
    assert state.scalars["gradients"]["count"] == 1


def test_a_refused_step_leaves_those_before_it_waiting() -> None:
    trainer = Trainer(declared({"accumulate": 3}))
    train(trainer, range(2))
    before = bits(trainer.state())
    with pytest.raises(StepRejected):
        trainer.train(make_step(7, scale=np.inf))
    assert bits(trainer.state()) == before


def test_gradients_whose_sum_overflows_are_refused() -> None:
    config = declared({"accumulate": 9, "guards": {"loss_spike": 0, "grad_norm": 0}})
    trainer = Trainer(config)
    largest = torch.full_like(trainer.serving()["Q_reduced"], 3e38)
    trainer.accumulation.state = Accumulated(1, 0.0, {"Q_reduced": largest})
    trainer.layer.get_parameter("Q_reduced").grad = largest
    with pytest.raises(StepRejected) as refusal:
        trainer.accumulation.add(0.0)
    assert refusal.value.reason == "non_finite_gradient"


def test_weights_from_elsewhere_begin_a_new_average() -> None:
    trainer = Trainer(declared({"accumulate": 2}))
    train(trainer, [0])
    trainer.apply(Replace(tensors={n: t.numpy() for n, t in trainer.serving().items()}))
    assert [outcome.update for outcome in train(trainer, range(2))] == ["accumulated", "gradient"]


def test_accumulation_is_refused_for_an_optimizer_that_evaluates_the_loss_again() -> None:
    with pytest.raises(ConfigInvalid) as refusal:
        Trainer(declared({"optimizer": LBFGS, "accumulate": 2}))
    assert refusal.value.pointer == "/accumulate"


LIMITS: list[dict[str, Any]] = [
    {"max_norm": 0},
    {"max_norm": -1.0},
    {"clip_value": float("nan")},
    {"norm_type": 0.5},
    {"norm_type": "p"},
    {"max": 1.0},
]


@pytest.mark.parametrize("limits", LIMITS, ids=str)
def test_limits_that_mean_nothing_are_refused(limits: dict[str, Any]) -> None:
    document = declared({}).model_dump()
    with pytest.raises(ConfigInvalid) as refusal:
        parse_config({**document, "gradient_clipping": limits})
    assert refusal.value.pointer == f"/gradient_clipping/{next(iter(limits))}"


WRONG: dict[str, Any] = {
    "no words": lambda s: replace(s, scalars=_without(s.scalars, "gradients")),
    "no number": lambda s: replace(s, scalars={**s.scalars, "gradients": {"count": "1"}}),
    "as many as are averaged": lambda s: replace(
        s, scalars={**s.scalars, "gradients": {"count": 3, "loss": 1.0}}
    ),
    "of another parameter": lambda s: replace(
        s, arrays={**s.arrays, "gradients.bias": np.zeros(6, np.float32)}
    ),
    "of another shape": lambda s: replace(
        s, arrays={**s.arrays, "gradients.Q_reduced": np.zeros((6, 25), np.float32)}
    ),
}


def _without(scalars: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in scalars.items() if key != name}


@pytest.mark.parametrize("change", WRONG.values(), ids=WRONG)
def test_waiting_gradients_that_do_not_fit_are_refused(change: Any) -> None:
    trainer = Trainer(declared({"accumulate": 3}))
    train(trainer, [0])
    before = bits(trainer.state())
    with pytest.raises(ArtifactInvalid):
        trainer.restore(change(trainer.state()))
    assert bits(trainer.state()) == before
