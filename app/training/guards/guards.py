"""Every guard in the order in which a step meets them, and what they remember."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn
from torch.optim import Optimizer

from app.config import GuardsConfig
from app.training.batch import TensorBatch
from app.training.guards.baseline import Baselines, check_ordinary
from app.training.guards.canary import Canary, CanaryWatch
from app.training.guards.finite import (
    check_gradients,
    check_loss,
    check_optimizer_state,
    check_weights,
)
from app.training.losses import Loss


@dataclass(frozen=True, slots=True)
class GuardState:
    """What the guards remember; immutable, so that an undo is a reference.

    Attributes:
        baselines: by the name of the loss.
        canary: rows and their loss.
    """

    baselines: Mapping[str, Baselines] = field(default_factory=dict)
    canary: Canary = field(default_factory=Canary)


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

    Args:
        config: which guards are on, and how strict.
        loss: the one that the model's config names.

    Attributes:
        state: what is remembered; part of the trainer's state.
    """

    def __init__(self, config: GuardsConfig, loss: Loss) -> None:
        self.state = GuardState()
        self._config = config
        self._canary = CanaryWatch(config.canary, warm_up=config.warm_up, loss=loss)

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

    def forget(self) -> None:
        """Begin again, as for a new model."""
        self.state = GuardState()

    def _baselines(self, look: Look) -> Baselines:
        return self.state.baselines.get(look.loss_name, Baselines())
