"""A learner: what changes in a model when it learns, whoever changes it."""

from __future__ import annotations

from typing import Protocol

from torch import nn
from torch.optim import Optimizer

from app.training.guards import Guards


class Learner(Protocol):
    """What can be saved, undone and loaded.

    Attributes:
        layer: whose parameters and buffers change.
        optimizer: of that layer.
        guards: what they remember changes with every accepted step.
        version: rises by one for every accepted change of the weights.
        step: optimizer updates behind the weights.
    """

    layer: nn.Module
    optimizer: Optimizer
    guards: Guards
    version: int
    step: int
