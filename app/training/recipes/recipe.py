"""What a recipe is: how one train step updates a learner."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch

from app.config import ModelConfig
from app.registry import Registry
from app.training.learner import Learner
from app.training.losses import Loss
from app.training.memory import Memory
from app.training.step import StepOutcome
from app.types import TrainStep


class Recipe(Protocol):
    """How a model learns from a train step, and what it remembers for that.

    Attributes:
        memories: its own, beside the guards; part of the learner's.
        loss: what a step minimises that names no loss; the guards watch it.
    """

    memories: Sequence[Memory]
    loss: Loss

    def update(self, learner: Learner, step: TrainStep) -> StepOutcome:
        """Take one step; raising leaves the learner half changed, for the caller to undo.

        Raises:
            ConfigInvalid: the step names a loss that does not exist.
            Unacceptable, TooLarge: the batch does not fit.
            StepRejected: a guard refused it.
        """
        ...


RECIPES: Registry[Callable[[ModelConfig, torch.device], Recipe]] = Registry("recipe")
