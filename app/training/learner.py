"""A learner: what changes in a model when it learns, whoever changes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import nn
from torch.optim import Optimizer

from app.config import ClippingConfig
from app.training.gradients import Accumulation
from app.training.guards import Guards
from app.training.memory import Memory
from app.training.observed import Observed
from app.training.randomness import Randomness
from app.training.schedule import Schedule


class Learner(Protocol):
    """What can be saved, undone and loaded.

    Attributes:
        layer: whose parameters and buffers change.
        optimizer: of that layer.
        schedule: of the optimizer's learning rates; a memory, too.
        accumulation: gradients that wait for the optimizer's step; a memory, too.
        clipping: limits of the gradients.
        randomness: what the layer draws while it trains.
        guards: refuse steps; a memory, too.
        observed: what was seen of the stream, where that is kept; a memory, too.
        version: rises by one for every accepted change of the weights.
        step: optimizer updates behind the weights.
    """

    layer: nn.Module
    optimizer: Optimizer
    schedule: Schedule
    accumulation: Accumulation
    clipping: ClippingConfig
    randomness: Randomness
    guards: Guards
    observed: Observed | None
    version: int
    step: int

    @property
    def memories(self) -> Sequence[Memory]:
        """What is remembered beside weights and optimizer, in a fixed order."""
        ...
