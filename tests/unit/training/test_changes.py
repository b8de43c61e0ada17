"""Changes other than steps: what each sets, what it leaves, and that a refused one leaves all."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from app.errors import ArtifactInvalid, ConfigInvalid, PreconditionFailed, SlimvecError
from app.layers import INITIALISERS, Draw, orthonormality_error
from app.training.guards import GuardState
from app.training.optimizers import OPTIMIZERS
from app.training.trainer import Trainer
from app.types import ChangeRequest, Configure, Fit, Replace, Rollback, Serve, TrainerState
from tests.unit.training.examples import (
    INPUT_SIZE,
    N_COMPONENTS,
    bits,
    make_config,
    make_rows,
    make_step,
    one_thread,
    train,
)

__all__ = ["one_thread"]

TWO_GROUPS = {"type": "Adam", "lr": 0.25, "groups": [{"match": "bias", "lr": 0.5}]}


def make_trainer(steps: int = 25, **config: Any) -> Trainer:
    return train(Trainer(make_config(**config)), range(steps))


def make_weights(seed: int = 3) -> dict[str, Any]:
    return {"Q_reduced": np.linalg.qr(make_rows(seed))[1][:N_COMPONENTS].astype(np.float32)}


def as_version(state: TrainerState, version: int) -> dict[str, Any]:
    return bits(replace(state, version=version))


def test_rollback_is_the_earlier_state_as_a_new_version() -> None:
    trainer = make_trainer()
    earlier = trainer.state()
    train(trainer, range(30, 40))
    assert trainer.apply(Rollback(to=26, state=earlier)) is None
    assert bits(trainer.state()) == as_version(earlier, 37)


def test_training_goes_on_from_a_rollback_as_it_did_the_first_time() -> None:
    trainer = make_trainer()
    earlier = trainer.state()
    first = train(trainer, range(30, 40)).state()
    trainer.apply(Rollback(to=26, state=earlier))
    assert bits(train(trainer, range(30, 40)).state()) == as_version(first, 47)


def test_rollback_brings_back_learning_rates_and_what_guards_remembered() -> None:
    trainer = make_trainer()
    earlier, remembered = trainer.state(), trainer.guards.state.baselines
    trainer.apply(Configure(learning_rates=(0.5,)))
    trainer.apply(Replace(tensors=make_weights()))
    trainer.apply(Rollback(to=26, state=earlier))
    assert trainer.learning_rates == (1e-2,)
    assert trainer.guards.state.baselines == remembered


@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_replaced_weights_are_those_of_a_new_model_with_the_same_weights(name: str) -> None:
    trainer, fresh = (make_trainer(steps, optimizer={"type": name}) for steps in (25, 0))
    trainer.apply(Replace(tensors=make_weights()))
    fresh.assign(make_weights())
    assert bits(trainer.state()) == as_version(fresh.state(), 27)
    assert bits(train(trainer, range(5)).state()) == as_version(train(fresh, range(5)).state(), 32)


def test_replacing_keeps_learning_rates_and_begins_new_guards() -> None:
    trainer = make_trainer()
    trainer.apply(Configure(learning_rates=(0.125,)))
    trainer.apply(Replace(tensors=make_weights()))
    assert trainer.learning_rates == (0.125,)
    assert trainer.guards.state == GuardState()
    assert (trainer.version, trainer.step) == (27, 0)


@pytest.mark.parametrize("bias", [False, True])
def test_fit_takes_the_initialisers_weights_with_a_fresh_optimizer(bias: bool) -> None:
    trainer, rows = make_trainer(bias=bias), make_rows(7, rows=200)
    trainer.apply(Fit(method="pca", hidden_states=rows.reshape(4, 50, INPUT_SIZE)))
    sample = make_trainer(0).layer.get_parameter("Q_reduced").new_tensor(rows)
    wanted = INITIALISERS["pca"](
        Draw(n_components=N_COMPONENTS, input_size=INPUT_SIZE, sample=sample)
    )
    serving = trainer.serving()
    assert np.array_equal(serving.pop("Q_reduced"), wanted)
    assert [tensor.count_nonzero().item() for tensor in serving.values()] == [0] * bias
    assert (trainer.version, trainer.step, len(trainer.optimizer.state)) == (27, 0, 0)


@pytest.mark.parametrize("parametrization", ["none", "qr", "orthogonal"])
@pytest.mark.parametrize("method", list(INITIALISERS))
def test_fit_keeps_the_parametrization_and_is_the_same_every_time(
    method: str, parametrization: str
) -> None:
    request = Fit(method=method, hidden_states=make_rows(7, rows=40))
    one, other = (make_trainer(n, parametrization=parametrization) for n in (3, 5))
    for trainer in (one, other):
        trainer.apply(request)
    assert bits(one.state()) == as_version(other.state(), one.version)
    if parametrization != "none":
        assert orthonormality_error(one.serving()["Q_reduced"]) < 1e-5  # float32 rounding of a QR


def test_fit_by_the_configs_own_initialiser_is_the_first_version_again() -> None:
    trainer = make_trainer()
    trainer.apply(Fit(method="orthogonal", hidden_states=make_rows(7)))
    assert bits(trainer.state()) == as_version(make_trainer(0).state(), 27)


def test_training_goes_on_after_a_fit() -> None:
    trainer = make_trainer()
    trainer.apply(Fit(method="pca", hidden_states=make_rows(7, rows=40)))
    assert train(trainer, range(3)).version == 30


@pytest.mark.parametrize(
    ("rates", "wanted"), [((0.125,), (0.125, 0.125)), ((0.125, 0.75), (0.125, 0.75))]
)
def test_configure_sets_the_rates_and_makes_no_version(
    rates: tuple[float, ...], wanted: tuple[float, ...]
) -> None:
    trainer = make_trainer(2, optimizer=TWO_GROUPS, bias=True)
    before = bits(trainer.state())
    trainer.apply(Configure(learning_rates=rates))
    after = bits(trainer.state())
    assert trainer.learning_rates == wanted
    assert trainer.train(make_step()).learning_rates == wanted
    assert {**after, "scalars": None} == {**before, "scalars": None}


def test_serving_another_version_changes_nothing_of_what_learns() -> None:
    trainer = make_trainer()
    before = bits(trainer.state())
    assert trainer.apply(Serve(version=3)) is None
    assert bits(trainer.state()) == before


def test_a_step_is_a_change_too() -> None:
    assert Trainer(make_config()).apply(make_step()) == Trainer(make_config()).train(make_step())


STATE = make_trainer(2).state()
KINDS: list[ChangeRequest] = [
    make_step(),
    Rollback(to=3, state=STATE),
    Replace(tensors=make_weights()),
    Fit(method="pca", hidden_states=make_rows(7, rows=40)),
    Configure(learning_rates=(0.5,)),
    Serve(version="live"),
]


@pytest.mark.parametrize("request_", KINDS, ids=lambda request: request.kind)
def test_every_kind_checks_the_version_that_it_expects(request_: ChangeRequest) -> None:
    trainer = make_trainer(2)
    before = bits(trainer.state())
    with pytest.raises(PreconditionFailed, match="at version 3"):
        trainer.apply(replace(request_, if_version=2))
    assert bits(trainer.state()) == before
    trainer.apply(replace(request_, if_version=3))


@pytest.mark.parametrize("request_", KINDS, ids=lambda request: request.kind)
def test_every_kind_is_undone_by_a_savepoint(request_: ChangeRequest) -> None:
    trainer = make_trainer()
    before, savepoint = bits(trainer.state()), trainer.savepoint()
    trainer.apply(request_)
    savepoint.restore()
    assert bits(trainer.state()) == before


def with_nan() -> dict[str, Any]:
    weights = make_weights()
    weights["Q_reduced"][2, 3] = np.nan
    return weights


REFUSED: dict[str, tuple[ChangeRequest, type[SlimvecError], str]] = {
    "state of another model": (
        Rollback(to=3, state=replace(STATE, arrays={})),
        ArtifactInvalid,
        "",
    ),
    "state of no version": (Rollback(to=3, state=replace(STATE, version=0)), ArtifactInvalid, ""),
    "weights of another shape": (Replace(tensors={"Q_reduced": make_rows(0)}), ArtifactInvalid, ""),
    "weights of another name": (Replace(tensors={"Q": make_rows(0)}), ArtifactInvalid, ""),
    "weights that are not finite": (Replace(tensors=with_nan()), ArtifactInvalid, ""),
    "unknown initialiser": (Fit(method="x", hidden_states=make_rows(0)), ConfigInvalid, "/method"),
    "too few rows": (
        Fit(method="pca", hidden_states=make_rows(0, rows=5)),
        ConfigInvalid,
        "/hidden_states",
    ),
    "rows of another width": (
        Fit(method="pca", hidden_states=make_rows(0, width=7)),
        ConfigInvalid,
        "/hidden_states",
    ),
    "rows that are not finite": (
        Fit(method="pca", hidden_states=make_rows(0) * np.float32(np.inf)),
        ConfigInvalid,
        "/hidden_states",
    ),
    "two rates for one group": (Configure(learning_rates=(0.5, 0.5)), ConfigInvalid, "/lr"),
    "no rate": (Configure(learning_rates=()), ConfigInvalid, "/lr"),
    "rate of zero": (Configure(learning_rates=(0.0,)), ConfigInvalid, "/lr"),
    "rate out of range": (Configure(learning_rates=(1e30,)), ConfigInvalid, "/lr"),
    "rate that is no number": (Configure(learning_rates=(float("nan"),)), ConfigInvalid, "/lr"),
}


@pytest.mark.parametrize(("request_", "error", "pointer"), REFUSED.values(), ids=REFUSED)
def test_a_refused_change_leaves_everything_as_it_was(
    request_: ChangeRequest, error: type[SlimvecError], pointer: str
) -> None:
    trainer = make_trainer()
    before = bits(trainer.state())
    with pytest.raises(error) as refusal:
        trainer.apply(request_)
    assert refusal.value.pointer == pointer
    assert bits(trainer.state()) == before


def test_an_exception_in_the_middle_of_a_change_leaves_everything_as_it_was() -> None:
    trainer = make_trainer(parametrization="qr")
    before = bits(trainer.state())
    with pytest.raises(ArtifactInvalid, match="orthonormal"):
        trainer.apply(Replace(tensors={"Q_reduced": 2 * make_weights()["Q_reduced"]}))
    assert bits(trainer.state()) == before
