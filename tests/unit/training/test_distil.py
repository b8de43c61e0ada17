"""The recipe `distil`: what a step makes of its batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from app.errors import TooLarge
from app.training.trainer import Trainer
from app.types import Batch, FloatArray, TrainStep
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
from tests.unit.training.examples import one_thread

__all__ = ["one_thread"]


def unit(vectors: FloatArray) -> FloatArray:
    units: FloatArray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return units


def trained_part(number: int, *, count: int = 20) -> FloatArray:
    """The rows of a step of `rows` as they are trained on: every 20th is kept aside."""
    return unit(rows(number, count))[: count - 1]


def test_eigenvectors_come_first_and_gradients_after_them() -> None:
    trainer = Trainer(distil_config())
    outcomes = [trainer.train(one) for one in stream()]
    updates = [outcome.update for outcome in outcomes]
    assert updates == ["moment"] * FIRST_GRADIENT + ["gradient"] * (STEPS - FIRST_GRADIENT)
    assert {outcome.loss for outcome in outcomes[:FIRST_GRADIENT]} == {None}
    assert all(outcome.loss and outcome.grad_norm for outcome in outcomes[FIRST_GRADIENT:])
    assert (trainer.version, trainer.step) == (1 + STEPS, STEPS - FIRST_GRADIENT)


def test_a_moment_update_serves_the_leading_eigenvectors_of_what_was_seen() -> None:
    trainer = learn(Trainer(distil_config()), [step(0), step(1)])
    seen = np.concatenate([trained_part(0), trained_part(1)]).astype(np.float64)
    leading = np.linalg.eigh(seen.T @ seen)[1][:, -K:]
    made = weights(trainer).astype(np.float64)
    np.testing.assert_allclose(made.T @ made, leading @ leading.T, atol=1e-5)


def test_vectors_with_a_mean_are_not_centred() -> None:
    shifted = rows(0) + 50 * np.eye(1, WIDTH, dtype=np.float32)
    trainer = learn(Trainer(distil_config()), [TrainStep(batch=Batch(hidden_states=shifted))])
    mean = np.zeros(WIDTH)
    mean[0] = 1
    assert np.linalg.norm(weights(trainer) @ mean) > 0.99


def test_a_version_is_turned_onto_the_one_before() -> None:
    trainer, moved = Trainer(distil_config()), []
    for number in range(6):
        trainer.train(step(number))
        before, vectors = weights(trainer), unit(rows(100, 200))
        trainer.train(step(number + 50))
        old, new = vectors @ before.T, vectors @ weights(trainer).T
        moved.append(np.sum(old * new) / np.linalg.norm(old) / np.linalg.norm(new))
    assert min(moved) > 0.8, moved


def test_a_nested_model_keeps_the_order_of_its_components() -> None:
    trainer = learn(Trainer(distil_config(nested=True)), [step(n) for n in range(6)])
    seen = np.concatenate([trained_part(n) for n in range(6)])
    energies = np.square(seen @ weights(trainer).T).sum(axis=0)
    assert list(energies) == sorted(energies, reverse=True)


def test_fewer_vectors_than_components_leave_the_rest_of_the_old_basis() -> None:
    trainer = Trainer(distil_config())
    old = weights(trainer)
    trainer.train(TrainStep(batch=Batch(hidden_states=rows(0)[:2])))
    made = weights(trainer)
    np.testing.assert_allclose(made @ made.T, np.eye(K), atol=1e-6)
    assert np.sum(np.linalg.svd(made @ old.T)[1] > 1 - 1e-5) >= K - 2


def test_the_batch_joins_its_candidates_only_after_the_step() -> None:
    trainer = learn(Trainer(distil_config(gate={"every": 0})), stream()[:FIRST_GRADIENT])
    memory = observed(trainer)
    bank = memory.bank()
    assert bank is not None
    candidates, small = bank.clone(), torch.from_numpy(weights(trainer))
    batch = torch.from_numpy(unit(rows(77)))
    wanted = torch.softmax(batch @ candidates.T / 0.05, dim=1)
    found = torch.nn.functional.normalize(batch @ small.T, dim=1)
    others = torch.nn.functional.normalize(candidates @ small.T, dim=1)
    shares = torch.log_softmax(found @ others.T / 0.05, dim=1)
    loss = torch.nn.functional.kl_div(shares, wanted, reduction="batchmean")
    outcome = trainer.train(step(77))
    assert outcome.loss == pytest.approx(float(loss), rel=1e-4)


def test_the_pair_loss_joins_where_positives_come() -> None:
    start = Trainer(distil_config()), Trainer(distil_config(distil={"pair_weight": 0.0}))
    with_pairs, without = (learn(trainer, stream()[:FIRST_PAIRS]) for trainer in start)
    assert np.array_equal(weights(with_pairs), weights(without))
    losses = [t.train(step(99, has_pairs=True)).loss for t in (with_pairs, without)]
    assert (losses[0] or 0) > (losses[1] or 0) > 0
    assert observed(without).state.moments.pairs.count == 19


def test_both_sides_of_pairs_are_observed() -> None:
    trainer = learn(Trainer(distil_config()), [step(0, has_pairs=True)])
    state = observed(trainer).state
    assert (state.moments.count, state.reservoir.count, state.offered) == (38, 38, 20)
    assert [len(side) for side in state.held_out.pairs()] == [1, 1]


def test_every_20th_vector_is_kept_aside_and_nowhere_else() -> None:
    trainer = learn(Trainer(distil_config()), [step(0, count=50)])
    state, vectors = observed(trainer).state, torch.from_numpy(unit(rows(0, 50)))
    kept = [19, 39]
    trained = [number for number in range(50) if number not in kept]
    torch.testing.assert_close(state.held_out.vectors.rows.tensor(), vectors[kept])
    torch.testing.assert_close(state.reservoir.rows.tensor(), vectors[trained])
    assert state.moments.count == 48


def test_without_a_gate_nothing_is_kept_aside() -> None:
    trainer = learn(Trainer(distil_config(gate={"every": 0})), [step(0, count=50)])
    state = observed(trainer).state
    assert (state.held_out.count, state.moments.count) == (0, 50)


def test_a_row_that_is_kept_aside_alone_changes_nothing_else() -> None:
    trainer = learn(Trainer(distil_config()), [step(0, count=19)])
    before = weights(trainer)
    outcome = trainer.train(step(1, count=1))
    assert (outcome.update, outcome.loss, outcome.rows) == ("none", None, 1)
    assert np.array_equal(weights(trainer), before)
    assert (trainer.version, observed(trainer).state.held_out.count) == (3, 1)


@pytest.mark.parametrize("number", [0, FIRST_GRADIENT, FIRST_PAIRS])
def test_zero_rows_are_rows_without_a_direction(number: int) -> None:
    """They count as rows, and are in no moment, no reservoir and no loss."""
    trainer = learn(Trainer(distil_config(gate={"every": 0})), stream()[:number])
    before = observed(trainer).state
    one = step(50, has_pairs=number >= FIRST_PAIRS)
    for array in one.batch.arrays().values():
        array[3:5] = 0
    trainer.train(one)
    after, sides = observed(trainer).state, len(one.batch.arrays())
    assert after.moments.count == before.moments.count + 18 * sides
    assert after.offered == before.offered + 20
    assert np.isfinite(weights(trainer)).all()


@pytest.mark.parametrize("number", [0, FIRST_GRADIENT])
def test_a_large_batch_is_taken_and_one_of_too_many_pairs_refused(number: int) -> None:
    trainer = learn(Trainer(distil_config()), stream()[:number])
    with pytest.raises(TooLarge) as refusal:
        trainer.train(step(1, count=4097, has_pairs=True))
    assert refusal.value.code == "too_many_rows"
    assert trainer.train(step(1, count=20_000)).rows == 20_000


def test_zero_rows_alone_are_accepted_and_teach_nothing() -> None:
    trainer = learn(Trainer(distil_config()), stream()[:FIRST_PAIRS])
    before = weights(trainer)
    nothing = TrainStep(batch=Batch(hidden_states=np.zeros((3, WIDTH), np.float32)))
    assert trainer.train(nothing).update == "none"
    assert np.array_equal(weights(trainer), before)


@pytest.mark.parametrize("scale", [2.0**-60, 0.01, 30.0, 1e18])
def test_the_scale_of_the_input_does_not_matter(scale: float) -> None:
    trainers = [Trainer(distil_config()) for _ in range(2)]
    for number in range(16):
        trainers[0].train(step(number))
        trainers[1].train(step(number, scale=scale))
    np.testing.assert_allclose(weights(trainers[0]), weights(trainers[1]), atol=2e-3)


def test_a_wide_map_follows_the_moments_until_pairs_come() -> None:
    trainer = Trainer(distil_config(layer={"n_components": WIDTH // 3 + 1}))
    updates = [trainer.train(one).update for one in stream()]
    assert updates[: FIRST_PAIRS + 1] == ["moment"] * FIRST_PAIRS + ["gradient"]
    assert set(updates[FIRST_PAIRS:]) == {"gradient"}


def test_pairs_that_weigh_nothing_leave_a_wide_map_with_the_moments() -> None:
    trainer = Trainer(distil_config(layer={"n_components": 20}, distil={"pair_weight": 0.0}))
    assert {trainer.train(one).update for one in stream()} == {"moment"}


def test_the_fast_profile_keeps_the_newest_vectors() -> None:
    trainer = Trainer(distil_config(distil={"profile": "fast"}, gate={"every": 0}))
    learn(trainer, [step(number) for number in range(12)])
    newest = np.concatenate([unit(rows(number)) for number in range(7, 12)])
    kept = observed(trainer).state.reservoir.rows.tensor().numpy()
    np.testing.assert_allclose(np.sort(kept, axis=0), np.sort(newest, axis=0), atol=1e-6)


def test_the_qr_parametrization_stays_orthonormal_throughout() -> None:
    trainer = Trainer(distil_config(layer={"parametrization": "qr"}))
    for one in stream():
        trainer.train(one)
        made = weights(trainer)
        np.testing.assert_allclose(made @ made.T, np.eye(K), atol=1e-6)


def test_drift_is_measured_after_the_warm_up_and_rises_when_the_data_changes() -> None:
    trainer = learn(Trainer(distil_config()), stream()[:FIRST_GRADIENT])
    assert trainer.drift is None
    learn(trainer, [step(number, count=200) for number in range(100, 130)])
    usual = trainer.drift
    turned = [rows(number, 200)[:, ::-1].copy() for number in range(30)]
    learn(trainer, [TrainStep(batch=Batch(hidden_states=vectors)) for vectors in turned])
    assert usual is not None
    assert abs(usual) < 0.05 < (trainer.drift or 0) - 0.05
