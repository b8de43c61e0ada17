"""The recipe `distil`: for which models it is, its rates, what a step may bring."""

from __future__ import annotations

import numpy as np
import pytest

from app.config import Component, parse_config
from app.errors import ConfigInvalid, Unacceptable
from app.training.recipes.growth import grown
from app.training.recipes.rate import rate_factor
from app.training.trainer import Trainer
from app.types import Batch, TrainStep
from tests.unit.training.distil_examples import (
    FIRST_GRADIENT,
    WIDTH,
    K,
    distil_config,
    learn,
    rows,
    step,
    stream,
)
from tests.unit.training.examples import one_thread

__all__ = ["one_thread"]

LAYER = {"type": "QRReduction", "n_components": K}


@pytest.mark.parametrize("warm_up", [-5, 0])
def test_a_warm_up_of_no_vector_is_refused(warm_up: int) -> None:
    told = f"an integer of at least 1 or 'auto', got {warm_up}"
    with pytest.raises(ConfigInvalid, match=told) as refused:
        distil_config(distil={"warm_up": warm_up})
    assert refused.value.pointer == "/distil/warm_up"


@pytest.mark.parametrize(
    ("profile", "at", "factor"),
    [
        ("stable", 0, 0.1),
        ("stable", 9, (1 + 9 / 200) ** -0.5),
        ("stable", 600, 0.5),
        ("stable", 100_000, 0.25),
        ("fast", 0, 0.3),
        ("fast", 100_000, 3.0),
    ],
)
def test_the_rate_warms_up_and_falls_to_a_floor(profile: str, at: int, factor: float) -> None:
    config = distil_config(distil={"profile": profile})
    assert rate_factor(config.distil, at, narrowness=1.0) == pytest.approx(factor)


def test_the_base_rate_stays_what_was_set() -> None:
    trainer = learn(Trainer(distil_config()), stream()[: FIRST_GRADIENT + 5])
    outcome = trainer.train(step(90))
    assert trainer.learning_rates == (1e-3,)
    assert outcome.learning_rates == pytest.approx([6e-4 / np.sqrt(1 + 5 / 200)])


def test_a_declared_scheduler_takes_the_place_of_the_recipes_own() -> None:
    scheduler = ({"type": "ConstantLR", "factor": 0.5, "total_iters": 1000},)
    trainer = learn(Trainer(distil_config(scheduler=scheduler)), stream()[: FIRST_GRADIENT + 1])
    assert trainer.train(step(90)).learning_rates == pytest.approx([5e-4])


def test_a_declared_scheduler_goes_on_at_each_gradient_step_and_after_a_restart() -> None:
    config = distil_config(scheduler=({"type": "ExponentialLR", "gamma": 0.5},))
    trainer = learn(Trainer(config), stream()[:FIRST_GRADIENT])
    rates = [trainer.train(step(90 + n)).learning_rates for n in range(2)]
    again = Trainer(config)
    again.restore(trainer.state())
    rates += [one.train(step(92)).learning_rates for one in (trainer, again)]
    assert rates == [(1e-3,), (5e-4,), (2.5e-4,), (2.5e-4,)]


@pytest.mark.parametrize(("width", "growth"), [(8, 1.01), (384, 1.01), (4096, 1.107)])
def test_eigenvectors_are_taken_again_when_the_moment_has_grown(width: int, growth: float) -> None:
    looks = [n for n in range(64, 100_000, 64) if grown(before=n - 64, after=n, width=width) > 1]
    factors = np.array(looks[1:]) / looks[:-1]
    late = factors[np.array(looks[:-1]) > 20_000]
    assert looks[0] == 64
    assert late.mean() == pytest.approx(growth, rel=0.01)
    assert np.all((late < growth + 0.004) & (late > growth - 0.004))


def test_steps_bring_a_loss_of_their_own_elsewhere() -> None:
    trainer, given = Trainer(distil_config()), rows(0)
    steps = {
        "/loss": TrainStep(batch=Batch(hidden_states=given), loss=Component(type="mse")),
        "/targets": TrainStep(batch=Batch(hidden_states=given, targets=given[:, :K])),
        "/labels": TrainStep(batch=Batch(hidden_states=given, labels=np.zeros(20, np.float32))),
        "/negatives": TrainStep(batch=Batch(hidden_states=given, negatives=given)),
    }
    for pointer, one in steps.items():
        with pytest.raises(Unacceptable) as refusal:
            trainer.train(one)
        assert (refusal.value.code, refusal.value.pointer) == ("recipe_brings_loss", pointer)


@pytest.mark.parametrize(
    "change",
    [
        {"layers": [{**LAYER, "bias": True}]},
        {"layers": [{**LAYER, "parametrization": "orthogonal"}]},
        {"layers": [LAYER, {"type": "ReLU"}]},
        {"layers": [{"type": "Linear", "out_features": 2}]},
        {"input_size": 5000},
        {"layers": [{**LAYER, "n_components": WIDTH + 1}]},
    ],
)
def test_the_recipe_is_for_one_plain_reduction(change: dict[str, object]) -> None:
    document = {"input_size": WIDTH, "layers": [LAYER], "recipe": "distil", **change}
    with pytest.raises(ConfigInvalid) as refusal:
        Trainer(parse_config(document))
    assert refusal.value.pointer == "/recipe"
    del document["recipe"]
    assert parse_config(document).recipe == "plain"


@pytest.mark.parametrize(
    ("fields", "recipe"),
    [
        ({}, "distil"),
        ({"nested": True}, "distil"),
        ({"layers": [{**LAYER, "parametrization": "qr"}]}, "distil"),
        ({"layers": [{**LAYER, "parametrization": {"type": "qr"}}]}, "distil"),
        ({"loss": "similarity"}, "plain"),
        ({"recipe": "plain"}, "plain"),
    ],
)
def test_a_new_model_distils_unless_it_says_what_to_minimise(
    fields: dict[str, object], recipe: str
) -> None:
    config = parse_config({"input_size": WIDTH, "layers": [LAYER], **fields})
    assert config.recipe == recipe
    assert parse_config(config.model_dump(mode="json")) == config
