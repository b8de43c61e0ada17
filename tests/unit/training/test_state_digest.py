"""The state digest covers everything that learning needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from app.codecs import digest, state_digest
from app.training.guards import Baselines
from app.training.tensors import to_arrays
from app.training.trainer import Trainer
from tests.unit.training.examples import make_config, one_thread, train

__all__ = ["one_thread"]


@pytest.mark.parametrize("steps", [0, 3, 25])
def test_state_digest_is_the_digest_of_the_state(steps: int) -> None:
    trainer = train(Trainer(make_config(bias=True)), range(steps))
    assert trainer.state_digest() == state_digest(trainer.state())


@pytest.mark.parametrize("parametrization", ["none", "qr", "orthogonal"])
@pytest.mark.parametrize("bias", [False, True])
def test_a_known_digest_of_the_serving_tensors_changes_nothing(
    parametrization: str, bias: bool
) -> None:
    trainer = train(Trainer(make_config(bias=bias, parametrization=parametrization)), range(3))
    serving = digest(to_arrays(trainer.serving()))
    assert trainer.state_digest(serving=serving) == state_digest(trainer.state())
    is_used = trainer.state_digest(serving="another") != trainer.state_digest()
    assert is_used == (parametrization != "orthogonal")


def test_a_canary_that_fills_up_is_in_each_digest() -> None:
    trainer = Trainer(make_config())
    for seed in range(25):
        train(trainer, [seed])
        assert trainer.state_digest() == state_digest(trainer.state())


def test_every_part_of_the_state_is_in_its_digest() -> None:
    trainer = train(Trainer(make_config()), range(25))
    wanted, savepoint = trainer.state_digest(), trainer.savepoint()
    for change in _CHANGES:
        change(trainer)
        assert trainer.state_digest() != wanted
        savepoint.restore()
        assert trainer.state_digest() == wanted


def _scale_the_weights(trainer: Trainer) -> None:
    for parameter in trainer.layer.parameters():
        parameter.data.mul_(2)


def _scale_the_moments(trainer: Trainer) -> None:
    for entry in trainer.optimizer.state.values():
        entry["exp_avg_sq"].mul_(2)


def _set_the_rate(trainer: Trainer) -> None:
    trainer.optimizer.param_groups[0]["lr"] = 0.5


def _forget_the_baselines(trainer: Trainer) -> None:
    state = trainer.guards.state
    trainer.guards.state = replace(state, baselines={"similarity": Baselines()})


def _age_the_canary(trainer: Trainer) -> None:
    state = trainer.guards.state
    assert state.canary.anchor is not None
    older = state.canary.anchor.model_copy(update={"age": 7})
    trainer.guards.state = replace(state, canary=replace(state.canary, anchor=older))


def _swap_the_canary(trainer: Trainer) -> None:
    state = trainer.guards.state
    assert state.canary.rows is not None
    rows = replace(state.canary.rows, hidden_states=state.canary.rows.hidden_states.flip(0))
    trainer.guards.state = replace(state, canary=replace(state.canary, rows=rows))


_CHANGES: list[Callable[[Trainer], None]] = [
    _scale_the_weights,
    _scale_the_moments,
    _set_the_rate,
    _forget_the_baselines,
    _age_the_canary,
    _swap_the_canary,
    lambda trainer: setattr(trainer, "version", 99),
    lambda trainer: setattr(trainer, "step", 99),
]
