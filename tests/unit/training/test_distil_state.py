"""What a model observed is its state: replay, undo, files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from app.codecs import state_digest
from app.config import Component, parse_config
from app.errors import ArtifactInvalid, ConfigInvalid, StepRejected, TooLarge
from app.training.trainer import Trainer
from app.types import Replace, Rollback, TrainerState
from tests.unit.training.distil_examples import (
    FIRST_GRADIENT,
    FIRST_PAIRS,
    STEPS,
    WIDTH,
    K,
    distil_config,
    learn,
    observed,
    rows,
    step,
    stream,
    weights,
)
from tests.unit.training.examples import bits, one_thread

__all__ = ["one_thread"]

PROFILES = ["stable", "fast"]


def digests(trainer: Trainer, start: int = 0) -> list[str]:
    """The state digest after each step of the stream."""
    found = []
    for one in stream()[start:]:
        trainer.train(one)
        found.append(trainer.state_digest())
    return found


@pytest.mark.parametrize("profile", PROFILES)
def test_the_digest_is_the_one_of_the_state_after_every_step(profile: str) -> None:
    trainer = Trainer(distil_config(distil={"profile": profile}))
    for one in stream():
        trainer.train(one)
        assert trainer.state_digest() == state_digest(trainer.state())


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("start", [0, 5, FIRST_GRADIENT, FIRST_PAIRS - 3, FIRST_PAIRS + 3])
def test_a_restored_trainer_continues_bit_for_bit(start: int, profile: str) -> None:
    config = distil_config(distil={"profile": profile})
    first, second = Trainer(config), Trainer(config)
    second.restore(learn(first, stream()[:start]).state())
    assert digests(first, start) == digests(second, start)


def test_the_stream_is_repeated_whatever_the_global_generator_gives() -> None:
    torch.manual_seed(1)
    first = digests(Trainer(distil_config()))
    torch.manual_seed(2)
    assert digests(Trainer(distil_config())) == first


def test_another_seed_keeps_other_vectors() -> None:
    kept = [
        observed(learn(Trainer(distil_config(seed=seed)), stream())).state.reservoir
        for seed in (0, 1)
    ]
    assert not torch.equal(kept[0].rows.tensor(), kept[1].rows.tensor())


@pytest.mark.parametrize("start", [0, 3, FIRST_GRADIENT - 1, FIRST_PAIRS + 1])
def test_an_undo_brings_everything_back(start: int) -> None:
    trainer = learn(Trainer(distil_config()), stream()[:start])
    wanted = bits(trainer.state()), trainer.state_digest()
    savepoint = trainer.savepoint()
    learn(trainer, stream()[start : start + 4])
    assert bits(trainer.state()) != wanted[0]
    savepoint.restore()
    assert (bits(trainer.state()), trainer.state_digest()) == wanted


def test_a_step_undone_and_done_again_gives_the_same_bits() -> None:
    trainer, wanted = Trainer(distil_config()), digests(Trainer(distil_config()))
    for number, one in enumerate(stream()):
        savepoint = trainer.savepoint()
        trainer.train(step(500 + number))
        savepoint.restore()
        trainer.train(one)
        assert trainer.state_digest() == wanted[number]


def test_a_refused_step_leaves_everything_as_it_was() -> None:
    optimizer = {"type": "SGD", "lr": 100.0, "weight_decay": 3e38}
    trainer = learn(Trainer(distil_config(optimizer=optimizer)), stream()[:FIRST_GRADIENT])
    wanted = trainer.state_digest()
    with pytest.raises(StepRejected):
        trainer.train(step(90))
    assert trainer.state_digest() == wanted == state_digest(trainer.state())


@pytest.mark.parametrize("start", [3, FIRST_GRADIENT + 2])
def test_a_rollback_brings_back_what_was_observed(start: int) -> None:
    trainer = learn(Trainer(distil_config()), stream()[:start])
    then = trainer.state()
    learn(trainer, stream()[start:])
    trainer.apply(Rollback(to=then.version, state=then))
    now = trainer.state()
    assert now.scalars["observed"] == then.scalars["observed"]
    assert _observed_arrays(now) == _observed_arrays(then)
    assert trainer.state_digest() == state_digest(now)


def _observed_arrays(state: TrainerState) -> dict[str, bytes]:
    return {n: a.tobytes() for n, a in state.arrays.items() if n.startswith("observed.")}


def test_given_weights_stay_until_enough_was_observed() -> None:
    trainer = Trainer(distil_config())
    given = rows(1, K)
    trainer.assign({"Q_reduced": given})
    updates = [trainer.train(one).update for one in stream()[:FIRST_GRADIENT]]
    assert updates == ["none"] * FIRST_GRADIENT
    assert np.array_equal(weights(trainer), given)
    assert trainer.train(step(90)).update == "gradient"


def test_weights_put_in_the_place_of_others_go_on_from_what_was_observed() -> None:
    trainer = learn(Trainer(distil_config()), stream())
    before = observed(trainer).state
    trainer.apply(Replace(tensors={"Q_reduced": rows(1, K)}))
    after = observed(trainer).state
    assert (after.moments, after.reservoir, trainer.drift) == (
        before.moments,
        before.reservoir,
        None,
    )
    assert trainer.train(step(90)).update == "gradient"


@pytest.mark.parametrize("profile", PROFILES)
def test_memory_is_bounded_however_long_the_stream(profile: str) -> None:
    trainer = Trainer(distil_config(distil={"profile": profile}))
    learn(trainer, [step(number, count=500, has_pairs=number > 2) for number in range(30)])
    arrays = trainer.state().arrays
    shapes = {n: a.shape for n, a in arrays.items() if n.startswith("observed.")}
    assert {name: shape for name, shape in shapes.items() if "pending" not in name} == {
        "observed.sum": (1, WIDTH),
        "observed.second.products": (WIDTH, WIDTH),
        "observed.pairs.products": (WIDTH, WIDTH),
        "observed.reservoir": (100, WIDTH),
        "observed.held_out.vectors": (32, WIDTH),
        "observed.held_out.positives": (32, WIDTH),
    }
    assert sum(shape[0] for name, shape in shapes.items() if "pending" in name) < 1024


def test_a_model_that_saw_nothing_has_nothing_observed() -> None:
    state = Trainer(distil_config()).state()
    assert "observed" not in state.scalars
    assert not any(name.startswith("observed.") for name in state.arrays)


def _without(name: str) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    return lambda arrays, _: arrays.pop(f"observed.{name}")


def _longer(name: str) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    def change(arrays: dict[str, Any], _: dict[str, Any]) -> None:
        arrays[f"observed.{name}"] = np.concatenate([arrays[f"observed.{name}"]] * 2)

    return change


def _scalar(name: str, value: object) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    return lambda _, scalars: scalars.update({name: value})


@pytest.mark.parametrize(
    "change",
    [
        _without("reservoir"),
        _without("sum"),
        _without("second.pending"),
        _without("held_out.positives"),
        _longer("reservoir"),
        _longer("held_out.vectors"),
        _longer("second.pending"),
        _scalar("second", {"count": -1, "pending": 0}),
        _scalar("second", {"count": 1, "pending": 2}),
        _scalar("second", 7),
        _scalar("reservoir", 3),
        _scalar("held_out", 2**60),
        _scalar("drift", {"newest": float("nan"), "average": 0.5, "count": 3}),
        _scalar("is_given", "yes"),
        _scalar("more", 1),
    ],
)
def test_a_record_that_does_not_fit_is_refused_and_nothing_loaded(
    change: Callable[[dict[str, Any], dict[str, Any]], None],
) -> None:
    state = learn(Trainer(distil_config()), stream()).state()
    arrays, scalars = dict(state.arrays), dict(state.scalars["observed"])
    change(arrays, scalars)
    damaged = TrainerState(
        version=state.version,
        step=state.step,
        arrays=arrays,
        scalars={**state.scalars, "observed": scalars},
    )
    trainer = Trainer(distil_config())
    wanted = trainer.state_digest()
    with pytest.raises(ArtifactInvalid) as refusal:
        trainer.restore(damaged)
    assert refusal.value.code == "artifact_incompatible"
    assert trainer.state_digest() == wanted


def plain(**fields: Any) -> Trainer:
    document = distil_config().model_dump(mode="json")
    return Trainer(parse_config({**document, "recipe": "plain", "seed": 3, **fields}))


def test_observing_never_alters_a_plain_models_updates() -> None:
    watched, unwatched = plain(observe=True), plain()
    todo = [step(number) for number in range(STEPS)]
    assert np.array_equal(weights(learn(watched, todo)), weights(learn(unwatched, todo)))
    state = observed(watched).state
    assert (state.moments.count, state.reservoir.count) == (20 * STEPS, 100)
    assert state.held_out.count == 0
    assert watched.state_digest() == state_digest(watched.state())


def test_the_loss_distil_of_a_plain_model_takes_its_reservoir() -> None:
    todo = [replace(step(number), loss=Component(type="distil")) for number in range(8)]
    watched, unwatched = learn(plain(observe=True), todo), learn(plain(), todo)
    assert not np.array_equal(weights(watched), weights(unwatched))


@pytest.mark.parametrize("loss", ["distil", "weighted", "nested"])
def test_a_step_is_bounded_by_what_its_rows_are_compared_with(loss: str) -> None:
    """A matrix of rows x vectors of a full reservoir would have taken 1 GiB, a few times over."""
    parts: dict[str, Any] = {
        "weighted": {"losses": ["distil"]},
        "nested": {"loss": "distil", "dimensions": [2]},
    }
    asked = Component.model_validate({"type": loss, **parts.get(loss, {})})
    trainer = plain(observe=True, observed={"reservoir": 65_536})
    with pytest.raises(TooLarge, match="at most 256 rows, got 257") as refusal:
        trainer.train(replace(step(0, count=257), loss=asked))
    assert refusal.value.code == "too_many_rows"
    assert trainer.train(replace(step(0, count=256), loss=asked)).rows == 256


@pytest.mark.parametrize("change", [{"input_size": 5000}, {"input_shape": [3, WIDTH]}])
def test_only_vectors_that_are_not_too_wide_are_observed(change: dict[str, object]) -> None:
    with pytest.raises(ConfigInvalid) as refusal:
        plain(observe=True, **change)
    assert refusal.value.pointer == "/observe"
