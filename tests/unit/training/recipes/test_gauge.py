"""New eigenvectors are turned onto the average of the maps before them."""

from __future__ import annotations

import numpy as np
import torch

from app.training.recipes.gauge import Gauge
from app.training.subspace import rotated_onto
from app.training.trainer import Trainer
from app.types import Replace
from tests.unit.training.distil_examples import WIDTH, K, distil_config, observed, step, weights

MANY = 1_000_000


def moment_model() -> Trainer:
    """One whose weights are eigenvectors for ever."""
    return Trainer(distil_config(distil={"warm_up": MANY}))


def train(trainer: Trainer, steps: range) -> None:
    for number in steps:
        trainer.train(step(number))


def gauge(trainer: Trainer) -> torch.Tensor | None:
    (kept,) = (memory for memory in trainer.memories if isinstance(memory, Gauge))
    return kept.state


def is_turned_onto(trainer: Trainer, onto: torch.Tensor | None) -> bool:
    assert onto is not None
    newest = torch.from_numpy(weights(trainer)).double()
    turned = rotated_onto(newest, onto, observed(trainer).state.moments.second.mean())
    return bool(torch.allclose(turned, newest, atol=1e-5))


def test_a_version_is_turned_onto_the_average_and_not_onto_the_one_before() -> None:
    trainer, found = moment_model(), []
    train(trainer, range(10))
    for number in range(10, 20):
        before, average = torch.from_numpy(weights(trainer)), gauge(trainer)
        trainer.train(step(number))
        found.append((is_turned_onto(trainer, average), is_turned_onto(trainer, before)))
    assert found == [(True, False)] * 10


def test_the_average_counts_a_map_by_the_square_of_the_vectors_that_it_is_of() -> None:
    rng, kept = np.random.default_rng(0), Gauge(K, WIDTH)
    maps = torch.from_numpy(rng.standard_normal((3, K, WIDTH))).float()
    for weight, (before, after) in zip(maps, [(1, 100), (100, 200), (200, 500)], strict=True):
        kept.follow(weight, grown=after / before)
    counts = torch.tensor([100.0**2, 200**2 - 100**2, 500**2 - 200**2])
    assert kept.state is not None
    torch.testing.assert_close(kept.state, torch.einsum("i,ijk->jk", counts / 500**2, maps))


def test_what_was_the_average_before_is_not_written_to() -> None:
    trainer = moment_model()
    train(trainer, range(5))
    kept = gauge(trainer)
    assert kept is not None
    values = kept.clone()
    train(trainer, range(5, 10))
    assert torch.equal(kept, values)


def test_weights_from_elsewhere_begin_another_average() -> None:
    trainer = moment_model()
    train(trainer, range(5))
    trainer.apply(Replace(tensors={"Q_reduced": weights(moment_model())}))
    assert gauge(trainer) is None


def test_a_restored_model_goes_on_with_the_same_average() -> None:
    first, second = moment_model(), moment_model()
    train(first, range(10))
    second.restore(first.state())
    for trainer in (first, second):
        train(trainer, range(10, 15))
    assert torch.equal(torch.from_numpy(weights(first)), torch.from_numpy(weights(second)))
    assert first.state_digest() == second.state_digest()
