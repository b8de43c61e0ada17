"""Guards as a trainer meets them: what is refused, what that leaves, what is remembered."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from app.config import parse_config
from app.errors import ConfigInvalid, StepRejected
from app.training.guards import GuardState
from app.training.trainer import Trainer
from tests.unit.training.examples import (
    bits,
    make_config,
    make_rows,
    make_step,
    one_thread,
    train,
)

__all__ = ["one_thread"]

LOSS = "reconstruction"
OFF = {"loss_spike": 0, "grad_norm": 0, "canary": {"rows": 0}}
WARM = 25  # steps: past the warm-up of every guard


def make_trainer(optimizer: dict[str, Any] | None = None, **guards: Any) -> Trainer:
    config = make_config(LOSS, optimizer, guards=OFF | guards)
    return train(Trainer(config), range(WARM), LOSS)


def refused(trainer: Trainer, scale: float = 1e6) -> str:
    with pytest.raises(StepRejected) as refusal:
        trainer.train(make_step(99, LOSS, scale))
    return refusal.value.reason


@pytest.mark.parametrize(
    ("guards", "reason"),
    [
        ({"loss_spike": 100}, "loss_spike"),
        ({"grad_norm": 100}, "grad_norm"),
        ({"canary": {"every": 1}}, "canary"),
    ],
)
def test_each_guard_refuses_on_its_own_and_everything_stays(
    guards: dict[str, Any], reason: str
) -> None:
    trainer = make_trainer(**guards)
    trainer.optimizer.param_groups[0]["lr"] = 10.0
    before = bits(trainer.state())
    assert refused(trainer) == reason
    assert bits(trainer.state()) == before
    assert all(parameter.grad is None for parameter in trainer.layer.parameters())


def test_with_every_guard_off_the_same_step_is_accepted() -> None:
    make_trainer().train(make_step(99, LOSS, 1e6))


def test_defaults_refuse_the_step_too() -> None:
    trainer = train(Trainer(make_config(LOSS)), range(WARM), LOSS)
    assert refused(trainer) == "loss_spike"


def test_training_goes_on_after_a_refusal_as_if_it_had_not_been() -> None:
    one, other = (train(Trainer(make_config(LOSS)), range(WARM), LOSS) for _ in range(2))
    refused(one)
    assert bits(train(one, range(50, 70), LOSS).state()) == bits(
        train(other, range(50, 70), LOSS).state()
    )


def test_a_refused_canary_is_asked_again_by_the_next_step() -> None:
    trainer = make_trainer(canary={"every": 4, "tolerance": 0.5})
    trainer.optimizer.param_groups[0]["lr"] = 1.0
    train(trainer, range(40, 42), LOSS)  # the last look was after step 24, the next is after 28
    assert [refused(trainer, 100.0) for _ in range(5)] == ["canary"] * 5


@pytest.mark.parametrize("guards", [OFF, {}, {"warm_up": 1, "canary": {"every": 1, "rows": 3}}])
def test_guards_do_not_change_a_single_bit_of_the_updates(guards: dict[str, Any]) -> None:
    weights = []
    for chosen in (guards, OFF):
        trainer = train(Trainer(make_config(guards=chosen)), range(60))
        weights.append(trainer.serving()["Q_reduced"])
    assert torch.equal(*weights)


def test_losses_have_baselines_of_their_own() -> None:
    trainer = train(Trainer(make_config("similarity")), range(WARM))
    trainer.train(make_step(0, "mse", scale=1e4))  # 1e9 times the loss so far, on another scale
    counts = {name: kept.loss.count for name, kept in trainer.guards.state.baselines.items()}
    assert counts == {"similarity": WARM, "mse": 1}


def test_the_canary_keeps_rows_of_the_configs_loss_only() -> None:
    trainer = train(Trainer(make_config("similarity")), range(5), "reconstruction")
    assert trainer.guards.state.canary.rows is None
    train(trainer, [7], "similarity")
    assert trainer.guards.state.canary.rows is not None


def test_a_savepoint_brings_back_what_the_guards_remembered() -> None:
    trainer = Trainer(make_config())
    savepoint = trainer.savepoint()
    train(trainer, range(WARM))
    savepoint.restore()
    assert trainer.guards.state == GuardState()


def test_resumed_in_the_middle_of_the_warm_up_the_same_steps_are_refused() -> None:
    straight, resumed = (Trainer(make_config(LOSS, guards={"warm_up": 12})) for _ in range(2))
    train(straight, range(7), LOSS)
    resumed.restore(straight.state())
    for trainer in (straight, resumed):
        train(trainer, range(7, 12), LOSS)
        assert refused(trainer) == "loss_spike"
    assert bits(straight.state()) == bits(resumed.state())


BAD: list[tuple[str, Any]] = [
    ("/guards/loss_spike", {"loss_spike": 1.0}),
    ("/guards/grad_norm", {"grad_norm": -1}),
    ("/guards/grad_norm", {"grad_norm": True}),
    ("/guards/loss_spike", {"loss_spike": float("nan")}),
    ("/guards/warm_up", {"warm_up": 0}),
    ("/guards/canary/rows", {"canary": {"rows": 100_000}}),
    ("/guards/canary/every", {"canary": {"every": 0}}),
    ("/guards/canary/tolerance", {"canary": {"tolerance": -0.1}}),
    ("/guards/canary", {"canary": False}),
    ("/guards/other", {"other": 1}),
]


@pytest.mark.parametrize(("pointer", "guards"), BAD)
def test_a_bad_guard_is_refused_where_it_stands(pointer: str, guards: dict[str, Any]) -> None:
    document = make_config().model_dump() | {"guards": guards}
    with pytest.raises(ConfigInvalid) as refusal:
        parse_config(document)
    assert refusal.value.pointer == pointer


def outlying_rows(seed: int) -> Any:
    """As raw hidden states are: a huge channel always, a huge row now and then."""
    rows = make_rows(seed)
    rows[:, 3] = 40
    if seed % 9 == 0:
        rows[5] *= 100
    return rows


HONEST = {
    "outliers": outlying_rows,
    "another domain": lambda seed: make_rows(seed) @ np.diag(np.arange(24) > 12 * (seed > 60)),
    "another scale": lambda seed: make_rows(seed) * (10 if seed > 60 else 1),
    "very small": lambda seed: make_rows(seed) * 1e-6,
    "nothing at first": lambda seed: make_rows(seed) * (seed > 60),
}


@pytest.mark.parametrize("rows", HONEST.values(), ids=HONEST)
@pytest.mark.parametrize("loss", ["similarity", "reconstruction"])
def test_honest_data_is_not_refused(loss: str, rows: Any) -> None:
    trainer = Trainer(make_config(loss, {"type": "Adam", "lr": 1e-3}))
    for seed in range(120):
        step = make_step(seed, loss)
        values = np.ascontiguousarray(rows(seed), np.float32)
        trainer.train(type(step)(batch=type(step.batch)(hidden_states=values)))
    assert trainer.step == 120


@pytest.mark.parametrize("optimizer", ["Adam", "AdamW", "SGD"])
@pytest.mark.parametrize("loss", ["mse", LOSS])
def test_one_batch_again_and_again_is_never_refused(optimizer: str, loss: str) -> None:
    # The first thing that anybody does. Adam overshoots its first minimum on the way.
    trainer = Trainer(make_config(loss, {"type": optimizer, "lr": 0.05}))
    step = make_step(1, loss)
    for _ in range(150):
        trainer.train(step)
    assert trainer.step == 150
