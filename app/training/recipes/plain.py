"""Exactly the declared loss and optimizer."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from app.config import ModelConfig
from app.training.batch import to_tensors
from app.training.learner import Learner
from app.training.losses import build_loss, check_batch
from app.training.memory import Memory
from app.training.recipes.recipe import RECIPES
from app.training.step import StepOutcome, take_step
from app.types import TrainStep


@RECIPES.register("plain")
class Plain:
    """What a plain PyTorch loop does, with the same bits: forward, `loss.backward()`, `step()`.

    Args:
        config: names the loss of a step that names none.
        device: where the layer lives.
    """

    def __init__(self, config: ModelConfig, device: torch.device) -> None:
        self.memories: Sequence[Memory] = ()
        self._config = config
        self._device = device
        self._loss = build_loss(config.loss)

    def update(self, learner: Learner, step: TrainStep) -> StepOutcome:
        """See `Recipe.update`."""
        loss = self._loss if step.loss is None else build_loss(step.loss)
        check_batch(loss, step.batch, self._config)
        return take_step(
            learner,
            loss,
            to_tensors(step.batch, self._device, self._config, branch=step.branch),
            loss_name=(step.loss or self._config.loss).type,
            is_watched=loss == self._loss,
        )
