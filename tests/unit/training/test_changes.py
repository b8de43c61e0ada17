"""Changes other than steps: what each sets, what it leaves, and that a refused one leaves all."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from app.config import ModelConfig, parse_config, parse_method
from app.errors import ArtifactInvalid, ConfigInvalid, PreconditionFailed, SlimvecError
from app.layers import orthonormality_error
from app.training.fits import Accumulator
from app.training.guards import GuardState
from app.training.optimizers import OPTIMIZERS
from app.training.trainer import FitOutcome, Trainer
from app.types import (
    Batch,
    ChangeRequest,
    Configure,
    Fit,
    FloatArray,
    Replace,
    Rollback,
    Serve,
    TrainerState,
    TrainStep,
)
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


def distil_config() -> ModelConfig:
    layer = {"type": "QRReduction", "n_components": N_COMPONENTS}
    return parse_config({"input_size": INPUT_SIZE, "layers": [layer], "recipe": "distil"})


def make_fit(rows: FloatArray, method: object = "pca", config: ModelConfig | None = None) -> Fit:
    component = parse_method(method)
    accumulator = Accumulator(config or make_config(), component)
    accumulator.add(Batch(hidden_states=rows))
    return Fit(method=component, moments=accumulator.moments())


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
def test_a_fit_sets_the_leading_directions_with_a_fresh_optimizer(bias: bool) -> None:
    trainer, rows = make_trainer(bias=bias), make_rows(7, rows=200)
    trainer.apply(make_fit(rows.reshape(4, 50, INPUT_SIZE)))
    directions = np.linalg.svd(rows.astype(float))[2][:N_COMPONENTS]
    serving = trainer.serving()
    agreement = np.abs(serving.pop("Q_reduced").numpy() @ directions.T)
    np.testing.assert_allclose(agreement, np.eye(N_COMPONENTS), rtol=0, atol=1e-6)
    assert [tensor.count_nonzero().item() for tensor in serving.values()] == [0] * bias
    assert (trainer.version, trainer.step, len(trainer.optimizer.state)) == (27, 0, 0)


def test_a_fit_tells_what_it_was_made_from() -> None:
    outcome = make_trainer(0).apply(make_fit(make_rows(7, rows=200)))
    assert isinstance(outcome, FitOutcome)
    assert (outcome.rows, outcome.rows_advised) == (200, 2048)
    assert 0.25 < outcome.explained_variance < 0.5  # 6 of 24 directions of white noise, and luck
    assert "200 vectors, where 2048" in outcome.warning


@pytest.mark.parametrize(
    "parametrization",
    ["none", "qr", "orthogonal", {"type": "sparse", "density": 0.3, "mask": "magnitude"}],
    ids=str,
)
def test_a_fit_keeps_the_parametrization_and_is_the_same_every_time(
    parametrization: str | dict[str, Any],
) -> None:
    request = make_fit(make_rows(7, rows=40))
    one, other = (make_trainer(n, parametrization=parametrization) for n in (3, 5))
    for trainer in (one, other):
        trainer.apply(request)
    assert bits(one.state()) == as_version(other.state(), one.version)
    if parametrization in ("qr", "orthogonal"):
        assert orthonormality_error(one.serving()["Q_reduced"]) < 1e-5  # float32 rounding of a QR


def test_training_goes_on_after_a_fit() -> None:
    trainer = make_trainer()
    trainer.apply(make_fit(make_rows(7, rows=40)))
    assert train(trainer, range(3)).version == 30


def test_a_distil_model_has_seen_what_it_was_fitted_to() -> None:
    trainer, rows = Trainer(distil_config()), make_rows(7, rows=3000)
    trainer.apply(make_fit(rows, config=distil_config()))
    assert trainer.observed is not None
    assert (trainer.observed.state.moments.count, trainer.observed.state.is_given) == (3000, False)
    unit = rows / np.linalg.norm(rows.astype(float), axis=1, keepdims=True)
    mean = trainer.observed.state.moments.second.mean().numpy()
    np.testing.assert_allclose(mean, unit.T @ unit / 3000, rtol=0, atol=1e-7)


def test_a_distil_model_goes_on_from_a_fit_bit_for_bit_after_a_restore() -> None:
    trainer, twin = Trainer(distil_config()), Trainer(distil_config())
    trainer.apply(make_fit(make_rows(7, rows=3000), config=distil_config()))
    twin.restore(trainer.state())
    for each in (trainer, twin):
        for seed in range(4):
            each.train(TrainStep(batch=Batch(hidden_states=make_rows(seed))))
    assert trainer.state_digest() == twin.state_digest()


@pytest.mark.parametrize(
    ("rates", "wanted"), [(0.125, (0.125, 0.125)), ((0.125, 0.75), (0.125, 0.75))]
)
def test_configure_sets_the_rates_and_makes_no_version(
    rates: float | tuple[float, ...], wanted: tuple[float, ...]
) -> None:
    trainer = make_trainer(2, optimizer=TWO_GROUPS, bias=True)
    before = bits(trainer.state())
    trainer.apply(Configure(learning_rates=rates))
    after = bits(trainer.state())
    assert trainer.learning_rates == wanted
    assert trainer.train(make_step()).learning_rates == wanted
    assert {**after, "scalars": None} == {**before, "scalars": None}


def test_an_array_of_one_rate_is_none_for_two_groups() -> None:
    trainer = make_trainer(2, optimizer=TWO_GROUPS, bias=True)
    with pytest.raises(
        ConfigInvalid, match=r"one for each of the 2, got an array of 1$"
    ) as refused:
        trainer.apply(Configure(learning_rates=(0.125,)))
    assert (refused.value.pointer, trainer.learning_rates) == ("/lr", (0.5, 0.25))


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
    make_fit(make_rows(7, rows=40)),
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
    "unknown fit": (
        replace(make_fit(make_rows(0)), method=parse_method("x")),
        ConfigInvalid,
        "/method",
    ),
    "centring without a bias": (
        replace(make_fit(make_rows(0)), method=parse_method({"type": "pca", "center": True})),
        ConfigInvalid,
        "/method/center",
    ),
    "two rates for one group": (Configure(learning_rates=(0.5, 0.5)), ConfigInvalid, "/lr"),
    "no rate": (Configure(learning_rates=()), ConfigInvalid, "/lr"),
    "rate of zero": (Configure(learning_rates=0.0), ConfigInvalid, "/lr"),
    "rate out of range": (Configure(learning_rates=(1e30,)), ConfigInvalid, "/lr/0"),
    "rate that is no number": (Configure(learning_rates=math.nan), ConfigInvalid, "/lr"),
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


@pytest.mark.parametrize("parametrization", ["qr", "unit_norm", {"type": "low_rank", "rank": 2}])
def test_a_fit_that_the_parametrization_does_not_allow_is_refused(
    parametrization: str | dict[str, Any],
) -> None:
    trainer = make_trainer(parametrization=parametrization)
    before = bits(trainer.state())
    with pytest.raises(ConfigInvalid) as refusal:
        trainer.apply(make_fit(make_rows(7, rows=40), method="whitening"))
    assert refusal.value.pointer == "/method"
    assert bits(trainer.state()) == before
