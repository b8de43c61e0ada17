"""One train step: forward, `loss.backward()`, `optimizer.step()`, with the guards between them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from app.failpoints import reach
from app.layers import retract_
from app.training.batch import TensorBatch
from app.training.gradients import clip_
from app.training.guards.finite import check_gradients, check_loss
from app.training.learner import Learner
from app.training.losses import Loss
from app.training.objective import objective
from app.training.optimizers import needs_closure
from app.types import Update


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOutcome:
    """What an accepted step did.

    Attributes:
        loss: before the update; None when no loss was computed.
        grad_norm: Euclidean norm of all gradients of this step together, before they are clipped
            or averaged with others; None without gradients.
        learning_rates: that it used, one for each parameter group.
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
    layer, guards = learner.layer, learner.guards
    rates = tuple(group["lr"] for group in learner.optimizer.param_groups)
    look = guards.begin(layer, loss_name=loss_name, batch=batch, is_watched=is_watched)
    reach("step.before_forward")
    with learner.randomness.at(learner.version):
        value = objective(loss, batch, layer, step=learner.step)
    loss_value = guards.check_loss(look, value)
    value.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
    reach("step.after_backward")
    grad_norm = guards.check_gradients(look, layer)
    mean_loss = learner.accumulation.add(loss_value)
    if mean_loss is not None:
        _descend(learner, loss, batch, value)
        retract_(layer)
        reach("step.after_optim")
        learner.schedule.advance(mean_loss)
        learner.step += 1
    guards.check_update(layer, learner.optimizer)
    guards.accept(look, layer, loss=loss_value, grad_norm=grad_norm)
    reach("guard.after")
    learner.version += 1
    return StepOutcome(
        loss=loss_value,
        grad_norm=grad_norm,
        learning_rates=rates,
        rows=batch.rows,
        update="accumulated" if mean_loss is None else "gradient",
    )


def _descend(learner: Learner, loss: Loss, batch: TensorBatch, value: Tensor) -> None:
    """Let the optimizer take its step down the gradients, clipped where the config says so.

    One that evaluates the loss more than once gets the first evaluation as it is known already;
    every further one is of the same batch and draws the same random numbers.
    """
    clip_(learner.layer, learner.clipping)
    if not needs_closure(learner.optimizer):
        learner.optimizer.step()
        return
    known = [value.detach()]

    def evaluate() -> Tensor:
        return known.pop() if known else _evaluated_again(learner, loss, batch)

    learner.optimizer.step(evaluate)  # type: ignore[arg-type]  # torch means a tensor, too


def _evaluated_again(learner: Learner, loss: Loss, batch: TensorBatch) -> Tensor:
    """The loss where the optimizer has gone, with its gradients set.

    Raises:
        StepRejected: `non_finite_loss` or `non_finite_gradient`: it went too far.
    """
    learner.optimizer.zero_grad()
    with learner.randomness.at(learner.version):
        value = objective(loss, batch, learner.layer, step=learner.step)
    check_loss(value)
    value.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
    check_gradients(learner.layer)
    clip_(learner.layer, learner.clipping)
    return value.detach()
