"""One bad batch among many good ones leaves the model as good as without it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from app.config import parse_config
from app.errors import StepRejected
from app.training.trainer import Trainer
from app.types import Batch, FloatArray, TrainStep
from tests.unit.training.examples import one_thread

__all__ = ["one_thread"]

INPUT_SIZE, N_COMPONENTS, ROWS, STEPS, BAD_AT = 256, 32, 64, 400, 200
# Standard deviations of the features: the best 32 directions hold a third of the variance.
SPREAD = np.exp(-np.arange(INPUT_SIZE) / 180).astype(np.float32)
OPTIMIZERS = {"Adam": {"type": "Adam", "lr": 3e-3}, "SGD": {"type": "SGD", "lr": 3e-3}}

Poison = Callable[[FloatArray], FloatArray]


def good_batch(seed: int) -> FloatArray:
    rows = np.random.default_rng(seed).standard_normal((ROWS, INPUT_SIZE), dtype=np.float32)
    return rows * SPREAD


def with_a_nan_row(rows: FloatArray) -> FloatArray:
    bad = rows.copy()
    bad[7] = math.nan
    return bad


POISONS: dict[str, Poison] = {
    "one NaN row": with_a_nan_row,
    "times 1e6": lambda rows: rows * np.float32(1e6),
    "times 1e19": lambda rows: rows * np.float32(1e19),
    "1e30 everywhere": lambda rows: np.full_like(rows, 1e30),
}


def noise(num: int, scale: float = 1.0) -> list[FloatArray]:
    """What a patient attacker sends: every batch is ordinary in size."""
    draw = np.random.default_rng(99).standard_normal((num, ROWS, INPUT_SIZE), dtype=np.float32)
    return list(draw * (scale * math.sqrt(np.square(SPREAD).mean())))


def make_trainer(optimizer: str, **guards: Any) -> Trainer:
    layer = {"type": "QRReduction", "n_components": N_COMPONENTS}
    document = {"input_size": INPUT_SIZE, "layers": [layer], "loss": "reconstruction"}
    return Trainer(parse_config({**document, "optimizer": OPTIMIZERS[optimizer], "guards": guards}))


def feed(trainer: Trainer, batches: Iterable[FloatArray]) -> list[str]:
    """Train on every batch; the reasons of those that were refused."""
    reasons = []
    for rows in batches:
        try:
            trainer.train(TrainStep(batch=Batch(hidden_states=rows)))
        except StepRejected as refusal:
            reasons.append(refusal.reason)
    return reasons


def captured_variance(trainer: Trainer) -> float:
    """The part of the variance inside the span of the layer's rows."""
    basis = torch.linalg.qr(trainer.serving()["Q_reduced"].mT).Q.numpy()
    return float(np.square(SPREAD[:, None] * basis).sum() / np.square(SPREAD).sum())


def clean_batches(first: int, last: int) -> list[FloatArray]:
    return [good_batch(seed) for seed in range(first, last)]


@cache
def clean(optimizer: str) -> float:
    trainer = make_trainer(optimizer)
    assert feed(trainer, clean_batches(0, STEPS)) == []
    return captured_variance(trainer)


@pytest.mark.parametrize("poison", POISONS.values(), ids=POISONS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_one_bad_batch_is_refused_and_costs_nothing(optimizer: str, poison: Poison) -> None:
    trainer = make_trainer(optimizer)
    refused = feed(trainer, clean_batches(0, BAD_AT))
    refused += feed(trainer, [poison(good_batch(BAD_AT))])
    refused += feed(trainer, clean_batches(BAD_AT, STEPS))
    assert len(refused) == 1
    assert captured_variance(trainer) >= 0.95 * clean(optimizer)
