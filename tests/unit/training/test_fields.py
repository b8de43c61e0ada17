"""Steps with pairs, labels and teachers: what the guards keep of them, and the replay of both."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from app.config import ModelConfig, parse_config
from app.training.trainer import Trainer
from app.types import Batch, TrainStep

WIDTH, REDUCED = 8, 3
LOSSES: dict[str, tuple[object, tuple[str, ...]]] = {
    "contrastive": ("contrastive", ("positives",)),
    "contrastive-negatives": ("contrastive", ("positives", "negatives")),
    "triplet": ("triplet", ("positives", "negatives")),
    "labels": ("cross_entropy", ("labels",)),
    "teacher": ("relation", ("teacher",)),
    "sum": ({"type": "weighted", "losses": ["distil", "contrastive"]}, ("positives",)),
    "nested": ({"type": "nested", "loss": "mse", "dimensions": [1, 3]}, ("targets",)),
}


def make_config(loss: object) -> ModelConfig:
    layer = {"type": "QRReduction", "n_components": REDUCED}
    guards = {"canary": {"rows": 16, "every": 2}, "warm_up": 2}
    document = {"input_size": WIDTH, "layers": [layer], "loss": loss, "recipe": "plain"}
    return parse_config({**document, "guards": guards})


def make_step(seed: int, names: tuple[str, ...]) -> TrainStep:
    draw = np.random.default_rng(seed)
    rows = draw.standard_normal((12, WIDTH), np.float32)
    known: dict[str, Any] = {
        "positives": rows + 0.1,
        "negatives": np.sin(5 * rows),
        "labels": draw.integers(0, REDUCED, 12).astype(np.float32),
        "targets": np.cos(rows[:, :REDUCED]),
        "teacher": np.cos(rows @ np.ones((WIDTH, 5), np.float32)),
    }
    fields = {name.replace("teacher", "targets"): known[name] for name in names}
    return TrainStep(batch=Batch(hidden_states=rows, **fields))


@pytest.mark.parametrize(("loss", "names"), LOSSES.values(), ids=LOSSES.keys())
def test_a_restored_trainer_goes_on_with_the_same_bits(
    loss: object, names: tuple[str, ...]
) -> None:
    trainer, twin = Trainer(make_config(loss)), Trainer(make_config(loss))
    for seed in range(10):  # enough to fill the canary, and to ask it
        trainer.train(make_step(seed, names))
    twin.restore(trainer.state())
    assert twin.state_digest() == trainer.state_digest()
    for each in (trainer, twin):
        each.train(make_step(99, names))
    assert twin.state_digest() == trainer.state_digest()


@pytest.mark.parametrize(("loss", "names"), LOSSES.values(), ids=LOSSES.keys())
def test_the_canary_keeps_what_the_loss_needs(loss: object, names: tuple[str, ...]) -> None:
    trainer = Trainer(make_config(loss))
    for seed in range(10):
        trainer.train(make_step(seed, names))
    kept = {name for name in trainer.state().arrays if name.startswith("guards.canary.")}
    needed = {name.replace("teacher", "targets") for name in names}
    if loss == "contrastive":
        needed = {"positives"}  # negatives are only accepted: not every batch has them
    wanted = {"hidden_states", "sample_weights", *needed}
    assert kept == {f"guards.canary.{name}" for name in wanted}


def test_a_teacher_of_another_width_leaves_the_canary_as_it_is() -> None:
    trainer = Trainer(make_config("relation"))
    trainer.train(make_step(0, ("teacher",)))
    before = trainer.state().arrays["guards.canary.targets"]
    trainer.train(make_step(1, ("targets",)))
    assert trainer.state().arrays["guards.canary.targets"].shape == before.shape
    twin = Trainer(make_config("relation"))
    twin.restore(trainer.state())
    assert twin.state_digest() == trainer.state_digest()


def test_the_order_of_labels_and_pairs_is_that_of_the_rows() -> None:
    trainer = Trainer(make_config("contrastive"))
    step = make_step(3, ("positives",))
    trainer.train(step)
    arrays = trainer.state().arrays
    assert np.array_equal(
        arrays["guards.canary.positives"], arrays["guards.canary.hidden_states"] + np.float32(0.1)
    )
