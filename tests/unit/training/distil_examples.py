"""Models of the recipe `distil` that are past their warm-up after a few steps."""

from __future__ import annotations

from typing import Any

import numpy as np

from app.config import ModelConfig, parse_config
from app.training.observed import Observed
from app.training.trainer import Trainer
from app.types import Batch, FloatArray, TrainStep

WIDTH, K, WARM_UP = 24, 4, 150
# Steps of `stream`: the first of them after the warm-up, and the first with pairs.
FIRST_GRADIENT, FIRST_PAIRS, STEPS = 8, 20, 32
_DIRECTIONS = np.random.default_rng(7).standard_normal((WIDTH, WIDTH)) * np.linspace(2, 0.1, WIDTH)


def distil_config(**fields: Any) -> ModelConfig:
    return parse_config(
        {
            "input_size": WIDTH,
            "layers": [{"type": "QRReduction", "n_components": K, **fields.pop("layer", {})}],
            "recipe": "distil",
            "seed": 3,
            "observed": {"reservoir": 100},
            "gate": {"every": 4, "rows": 32},
            "distil": {
                "warm_up": WARM_UP,
                "softening": 1.0,
                "rehearsed": 0,
                **fields.pop("distil", {}),
            },
            **fields,
        }
    )


def rows(seed: int, count: int = 20) -> FloatArray:
    """Some directions have more energy than others."""
    drawn = np.random.default_rng(seed).standard_normal((count, WIDTH))
    return (drawn @ _DIRECTIONS.T).astype(np.float32)


def step(seed: int, *, scale: float = 1.0, count: int = 20, has_pairs: bool = False) -> TrainStep:
    vectors = rows(seed, count) * np.float32(scale)
    positives = vectors + np.float32(0.3 * scale) * rows(seed + 1000, count) if has_pairs else None
    return TrainStep(batch=Batch(hidden_states=vectors, positives=positives))


def stream() -> list[TrainStep]:
    """Through warm-up and gradients, of single rows and of many, at last with pairs now and then.

    The reservoir is full from the sixth step on, so that draws decide what it keeps.
    """
    counts = [1 if number % 10 == 9 else 20 for number in range(STEPS)]
    return [
        step(number, count=count, has_pairs=number >= FIRST_PAIRS and number % 2 == 0)
        for number, count in enumerate(counts)
    ]


def observed(trainer: Trainer) -> Observed:
    assert trainer.observed is not None
    return trainer.observed


def learn(trainer: Trainer, steps: list[TrainStep]) -> Trainer:
    for one in steps:
        trainer.train(one)
    return trainer


def weights(trainer: Trainer) -> FloatArray:
    found: FloatArray = trainer.serving()["Q_reduced"].numpy()
    return found
