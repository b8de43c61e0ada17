"""One train step: forward, `loss.backward()`, `optimizer.step()`, with the guards between them."""

from __future__ import annotations

from dataclasses import dataclass

from app.failpoints import reach
from app.layers import retract_
from app.training.batch import TensorBatch
from app.training.learner import Learner
from app.training.losses import Loss
from app.types import Update


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOutcome:
    """What an accepted step did.

    Attributes:
        loss: before the update; None when no loss was computed.
        grad_norm: Euclidean norm of all gradients together; None without gradients.
        learning_rates: one for each parameter group.
        rows: how many rows the batch held.
        update: what kind of update it was.
    """

    loss: float | None
    grad_norm: float | None
    learning_rates: tuple[float, ...]
    rows: int
    update: Update = "gradient"


def take_step(
    learner: Learner, loss: Loss, batch: TensorBatch, *, loss_name: str, is_watched: bool
) -> StepOutcome:
    """Update a learner once; raising leaves it half changed, for the caller to undo.

    Args:
        learner: its gradients are set; every other part is as a plain loop would leave it.
        loss: checked against the batch.
        batch: on the learner's device.
        loss_name: what the loss is registered under.
        is_watched: whether it is the loss that the model's config names.

    Raises:
        StepRejected: a guard refused it.
    """
    layer, optimizer, guards = learner.layer, learner.optimizer, learner.guards
    look = guards.begin(layer, loss_name=loss_name, batch=batch, is_watched=is_watched)
    reach("step.before_forward")
    value = loss(batch, layer(batch.hidden_states), layer)
    loss_value = guards.check_loss(look, value)
    value.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
    reach("step.after_backward")
    grad_norm = guards.check_gradients(look, layer)
    optimizer.step()
    retract_(layer)
    reach("step.after_optim")
    guards.check_update(layer, optimizer)
    guards.accept(look, layer, loss=loss_value, grad_norm=grad_norm)
    reach("guard.after")
    learner.version += 1
    learner.step += 1
    return StepOutcome(
        loss=loss_value,
        grad_norm=grad_norm,
        learning_rates=tuple(group["lr"] for group in optimizer.param_groups),
        rows=batch.rows,
    )
