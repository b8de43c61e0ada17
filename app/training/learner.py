"""A learner: what changes in a model when it learns, whoever changes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import nn
from torch.optim import Optimizer

from app.training.guards import Guards
from app.training.memory import Memory


class Learner(Protocol):
    """What can be saved, undone and loaded.

    Attributes:
        layer: whose parameters and buffers change.
        optimizer: of that layer.
        guards: refuse steps; a memory, too.
        version: rises by one for every accepted change of the weights.
        step: optimizer updates behind the weights.
    """

    layer: nn.Module
    optimizer: Optimizer
    guards: Guards
    version: int
    step: int

    @property
    def memories(self) -> Sequence[Memory]:
        """What is remembered beside weights and optimizer, in a fixed order."""
        ...
