"""Configs and batches that the tests of this folder share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from app.config import Component, ModelConfig, parse_config
from app.training.trainer import Trainer
from app.types import Batch, FloatArray, TrainerState, TrainStep
from tests.threads import one_thread as one_thread  # for the tests of this folder

INPUT_SIZE, N_COMPONENTS = 24, 6


def make_config(
    loss: str = "similarity",
    optimizer: dict[str, Any] | None = None,
    *,
    bias: bool = False,
    parametrization: str | dict[str, Any] = "none",
    guards: dict[str, Any] | None = None,
) -> ModelConfig:
    layer = {"type": "QRReduction", "n_components": N_COMPONENTS, "bias": bias}
    return parse_config(
        {
            "input_size": INPUT_SIZE,
            "layers": [{**layer, "parametrization": parametrization}],
            "loss": loss,
            "optimizer": {"type": "Adam", "lr": 1e-2} if optimizer is None else optimizer,
            "seed": 5,
            "guards": guards or {},
        }
    )


def make_rows(seed: int, rows: int = 16, width: int = INPUT_SIZE) -> FloatArray:
    return np.random.default_rng(seed).standard_normal((rows, width), dtype=np.float32)


def make_step(seed: int = 0, loss: str = "similarity", scale: float = 1.0) -> TrainStep:
    targets = make_rows(seed + 1000, width=N_COMPONENTS) if loss in {"mse", "cosine"} else None
    scaled = make_rows(seed) * np.float32(scale)
    return TrainStep(batch=Batch(hidden_states=scaled, targets=targets), loss=Component(type=loss))


def train(trainer: Trainer, seeds: Iterable[int], loss: str = "similarity") -> Trainer:
    for seed in seeds:
        trainer.train(make_step(seed, loss))
    return trainer


def bits(state: TrainerState) -> dict[str, Any]:
    """A state as something that can be compared at once."""
    arrays = {n: (a.dtype.str, a.shape, a.tobytes()) for n, a in state.arrays.items()}
    return {"version": state.version, "step": state.step, "scalars": state.scalars, **arrays}
