"""Every guard in the order in which a step meets them, and what they remember."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from app.config import ModelConfig
from app.training.batch import TensorBatch
from app.training.guards.baseline import Baselines, check_ordinary
from app.training.guards.canary import CanaryWatch
from app.training.guards.finite import (
    check_gradients,
    check_loss,
    check_optimizer_state,
    check_weights,
)
from app.training.guards.record import canary_tensors, from_record, to_scalars
from app.training.guards.state import GuardState
from app.training.losses import Loss
from app.training.memory import KnownDigest
from app.training.stored import StoredArrays
from app.types import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One step as the guards see it.

    Attributes:
        loss_name: of the loss that the step uses.
        batch: of the step.
        is_watched: whether that loss is the one that the model's config names.
        canary_before: the canary's loss before the step, when the step is judged by it.
    """

    loss_name: str
    batch: TensorBatch
    is_watched: bool
    canary_before: float | None


class Guards:
    """Refuses steps, and learns from accepted ones what is ordinary.

    A step passes `begin`, `check_loss`, `check_gradients`, `check_update`, `accept`, in this order.

    A `Memory` of the learner.

    Args:
        config: which guards are on, and how strict.
        loss: the one that the config names.
        device: where the canary's rows live.

    Attributes:
        state: what is remembered.
    """

    part: ClassVar[str] = "guards"

    def __init__(self, config: ModelConfig, loss: Loss, device: torch.device) -> None:
        self.state = GuardState()
        self._model = config
        self._config = config.guards
        self._loss = loss
        self._device = device
        warm_up = config.guards.warm_up
        self._canary = CanaryWatch(config.guards.canary, warm_up=warm_up, loss=loss)
        self._digest = KnownDigest()

    def begin(
        self, layer: nn.Module, *, loss_name: str, batch: TensorBatch, is_watched: bool
    ) -> Look:
        """Note what must be known before the step changes the layer."""
        return Look(
            loss_name=loss_name,
            batch=batch,
            is_watched=is_watched,
            canary_before=self._canary.loss_before(self.state.canary, layer),
        )

    def check_loss(self, look: Look, loss: Tensor) -> float:
        """The loss as a number.

        Raises:
            StepRejected: `non_finite_loss` or `loss_spike`.
        """
        value = check_loss(loss)
        check_ordinary(
            value,
            self._baselines(look).loss,
            factor=self._config.loss_spike,
            warm_up=self._config.warm_up,
            reason="loss_spike",
            what="a loss",
        )
        return value

    def check_gradients(self, look: Look, layer: nn.Module) -> float:
        """The Euclidean norm of all gradients together.

        Raises:
            StepRejected: `non_finite_gradient` or `grad_norm`.
        """
        norm = check_gradients(layer)
        check_ordinary(
            norm,
            self._baselines(look).grad_norm,
            factor=self._config.grad_norm,
            warm_up=self._config.warm_up,
            reason="grad_norm",
            what="a gradient norm",
        )
        return norm

    def check_update(self, layer: nn.Module, optimizer: Optimizer) -> None:
        """Refuse what the optimizer has made, if it is not finite.

        Raises:
            StepRejected: `non_finite_weight` or `non_finite_optimizer_state`.
        """
        check_weights(layer)
        check_optimizer_state(optimizer)

    def accept(self, look: Look, layer: nn.Module, *, loss: float, grad_norm: float) -> None:
        """Ask the canary, the last guard, and learn from the step.

        Raises:
            StepRejected: `canary`; nothing was learned.
        """
        usual = self._baselines(look)
        learned = Baselines(
            loss=usual.loss.following(loss), grad_norm=usual.grad_norm.following(grad_norm)
        )
        canary = self._canary.following(
            self.state.canary,
            layer,
            before=look.canary_before,
            batch=look.batch if look.is_watched else None,
            peak=learned.loss.peak,
        )
        self.state = GuardState({**self.state.baselines, look.loss_name: learned}, canary)

    def tensors(self) -> Mapping[str, Tensor]:
        """See `Memory.tensors`."""
        return canary_tensors(self.state)

    def digest(self) -> str:
        """See `Memory.digest`."""
        return self._digest.of(self.tensors())

    def scalars(self) -> Json | None:
        """See `Memory.scalars`."""
        return to_scalars(self.state)

    def read(self, stored: StoredArrays, scalars: Json | None) -> GuardState:
        """See `Memory.read`; a record without guards is from before the first step."""
        return from_record(stored, scalars, self._model, self._loss, self._device)

    def forget(self) -> None:
        """Begin again, as for a new model."""
        self.state = GuardState()

    def _baselines(self, look: Look) -> Baselines:
        return self.state.baselines.get(look.loss_name, Baselines())
