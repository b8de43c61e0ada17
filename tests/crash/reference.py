"""What must come out: the same batches, trained without interruption by the plain trainer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import orjson

from app.codecs import digest, short_digest, state_digest
from app.config import ModelConfig
from app.training.trainer import Trainer
from app.types import Batch, FloatArray, TrainStep
from tests.server import Config, declare

MODEL = "small"
CONFIG: Config = declare(16, 4, optimizer={"type": "Adam", "lr": 0.01})


@dataclass(frozen=True, slots=True)
class Reference:
    """An uninterrupted run: the digest and the state digest of every version."""

    digests: dict[int, str] = field(default_factory=dict)
    state_digests: dict[int, str] = field(default_factory=dict)

    def note(self, trainer: Trainer) -> None:
        """Note the version at which the trainer stands."""
        arrays = {name: tensor.numpy() for name, tensor in trainer.serving().items()}
        self.digests[trainer.version] = short_digest(digest(arrays))
        self.state_digests[trainer.version] = state_digest(trainer.state())


def batch(number: int) -> FloatArray:
    """The rows of the numbered train step, (8, 16); the same in every process."""
    rows: FloatArray = np.random.default_rng(number).standard_normal((8, 16), dtype=np.float32)
    return rows


def body(number: int) -> bytes:
    """The numbered train step as JSON."""
    return orjson.dumps({"hidden_states": batch(number).tolist()})


def train(numbers: Iterable[int]) -> Reference:
    """Train a new model on these batches, in this order."""
    trainer = Trainer(ModelConfig.model_validate(CONFIG))
    run = Reference()
    run.note(trainer)
    for number in numbers:
        trainer.train(TrainStep(batch=Batch(hidden_states=batch(number))))
        run.note(trainer)
    return run


def orthonormal(seed: int) -> FloatArray:
    """Weights to import, (4, 16), their rows orthonormal."""
    square = np.random.default_rng(seed).standard_normal((16, 16))
    rows: FloatArray = np.linalg.qr(square)[0][:4].astype(np.float32)
    return rows
