"""What a recipe is: how one train step updates a learner."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import nn

from app.config import ModelConfig
from app.registry import Registry
from app.training.gate import Gate
from app.training.learner import Learner
from app.training.losses import Loss
from app.training.memory import Memory
from app.training.observed import Observed
from app.training.step import StepOutcome
from app.types import TrainStep


class Recipe(Protocol):
    """How a model learns from a train step, and what it remembers for that.

    Attributes:
        loss: what a step minimises that names no loss; the guards watch it.
    """

    loss: Loss

    @property
    def memories(self) -> Sequence[Memory]:
        """Its own, beside the guards, in a fixed order; part of the learner's."""
        ...

    @property
    def observed(self) -> Observed | None:
        """The one of them that holds what was seen of the stream, if there is one."""
        ...

    @property
    def gate(self) -> Gate | None:
        """The one of them that may hold `live` back, if there is one."""
        ...

    def update(self, learner: Learner, step: TrainStep) -> StepOutcome:
        """Take one step; raising leaves the learner half changed, for the caller to undo.

        Raises:
            ConfigInvalid: the step names a loss that does not exist.
            Unacceptable, TooLarge: the batch does not fit.
            StepRejected: a guard refused it.
        """
        ...


# Made of the config, the layer that is to learn, and the device where that is.
RECIPES: Registry[Callable[[ModelConfig, nn.Module, torch.device], Recipe]] = Registry("recipe")
