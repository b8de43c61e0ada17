"""Exactly the declared loss and optimizer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn

from app.config import ModelConfig
from app.training.batch import to_tensors
from app.training.learner import Learner
from app.training.losses import build_loss, check_batch, check_compared, check_loss
from app.training.memory import Memory
from app.training.observed import Observed, check_observable
from app.training.recipes.recipe import RECIPES
from app.training.step import StepOutcome, take_step
from app.types import TrainStep


@RECIPES.register("plain")
class Plain:
    """What a plain PyTorch loop does, with the same bits: forward, `loss.backward()`, `step()`.

    Args:
        config: names the loss of a step that names none.
        layer: that is to learn.
        device: where the layer lives.
    """

    gate = None

    def __init__(
        self,
        config: ModelConfig,
        layer: nn.Module,  # noqa: ARG002 - every recipe is told
        device: torch.device,
    ) -> None:
        self.loss = build_loss(config.loss)
        check_loss(self.loss, config)
        self._config = config
        self._device = device
        self.observed: Observed | None = None
        if config.observe:
            check_observable(config, pointer="/observe")
            self.observed = Observed(config, device, holds_out=False)
        self.memories: Sequence[Memory] = () if self.observed is None else (self.observed,)

    def update(self, learner: Learner, step: TrainStep) -> StepOutcome:
        """See `Recipe.update`."""
        loss = self.loss if step.loss is None else build_loss(step.loss)
        check_batch(loss, step.batch, self._config)
        batch = to_tensors(step.batch, self._device, self._config, branch=step.branch)
        if self.observed is not None:
            check_compared(loss, batch.rows, self._config.observed.reservoir)
            batch = replace(batch, bank=self.observed.bank())
        version = learner.version
        outcome = take_step(
            learner,
            loss,
            batch,
            loss_name=(step.loss or self._config.loss).type,
            is_watched=loss == self.loss,
        )
        if self.observed is not None:
            self.observed.add_batch(batch, version=version)
        return outcome
