"""The trainer: the one mutable copy of a model, and what one train step does to it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from app.config import ModelConfig
from app.errors import ArtifactInvalid, PreconditionFailed
from app.layers import assign, build, folded, retract_
from app.training.batch import TensorBatch, to_tensors
from app.training.guards import (
    check_gradients,
    check_loss,
    check_optimizer_state,
    check_weights,
)
from app.training.losses import Loss, build_loss, check_batch
from app.training.optimizers import build_optimizer
from app.training.savepoint import Savepoint
from app.training.state import load_state, to_state
from app.types import FloatArray, NamedArrays, TrainerState, TrainStep

_CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOutcome:
    """What an accepted step did.

    Attributes:
        loss: before the update.
        grad_norm: Euclidean norm of all gradients together.
        learning_rates: one for each parameter group.
        rows: how many vectors the batch held.
    """

    loss: float
    grad_norm: float
    learning_rates: tuple[float, ...]
    rows: int


class Trainer:
    """Layer, optimizer and counters of one model; one thread at a time may use it.

    A step is what a plain PyTorch loop does, with the same bits: forward, `loss.backward()`,
    `optimizer.step()`. A step that raises leaves everything as it was.

    Args:
        config: what the model is; its seed alone decides the initial weights.
        device: where layer and optimizer live; the initial weights are made on the CPU.
        sample: hidden states (rows, input_size) for an initialiser that starts from data.

    Attributes:
        version: starts at 1, and rises by one for every accepted step.
        step: optimizer updates behind the weights.

    Raises:
        ConfigInvalid: the config names something that cannot be built.
    """

    def __init__(
        self,
        config: ModelConfig,
        *,
        device: torch.device = _CPU,
        sample: FloatArray | None = None,
    ) -> None:
        known = None if sample is None else torch.tensor(sample)
        self.config = config
        self.layer = build(config, sample=known).to(device).train()
        self.optimizer = build_optimizer(config.optimizer, self.layer)
        self.version = 1
        self.step = 0
        self._device = device
        self._loss = build_loss(config.loss)
        self._undo = Savepoint(self)

    def train(self, step: TrainStep) -> StepOutcome:
        """Apply one train step.

        Raises:
            PreconditionFailed: `version_mismatch`.
            ConfigInvalid: the step names a loss that does not exist.
            Unacceptable, TooLarge: the batch does not fit the loss.
            StepRejected: loss, gradient, weights or moments would not be finite.
        """
        if step.if_version is not None and step.if_version != self.version:
            raise PreconditionFailed(
                "version_mismatch",
                f"the model is at version {self.version}, not at the one that the step expects; "
                "read its state and decide again",
            )
        loss = self._loss if step.loss is None else build_loss(step.loss)
        n_components = self.config.n_components
        assert n_components is not None, "build refuses a config without it"
        check_batch(loss, step.batch, n_components)
        batch = to_tensors(step.batch, self._device)
        self._undo.take()
        try:
            return self._update(loss, batch)
        except BaseException:
            self._undo.restore()
            raise
        finally:
            self.optimizer.zero_grad(set_to_none=True)

    def savepoint(self) -> Savepoint:
        """A savepoint taken now, for undoing several steps at once; it may be taken again."""
        return Savepoint(self)

    def serving(self) -> dict[str, Tensor]:
        """The plain tensors that `/reduce` multiplies with, in memory of their own."""
        return folded(self.layer)

    def assign(self, tensors: NamedArrays) -> None:
        """Set the weights from plain tensors; counters and optimizer state stay.

        Raises:
            ArtifactInvalid: the tensors do not fit the layer; nothing was set.
        """
        assign(self.layer, {name: torch.tensor(array) for name, array in tensors.items()})

    def state(self) -> TrainerState:
        """Everything that learning needs, copied to the host."""
        return to_state(self.layer, self.optimizer, version=self.version, step=self.step)

    def restore(self, state: TrainerState) -> None:
        """Continue from a state as if training had never stopped.

        Raises:
            ArtifactInvalid: `artifact_incompatible`; nothing was loaded.
        """
        if state.version < 1 or state.step < 0:
            raise ArtifactInvalid(
                "expected a version of at least 1 and a step of at least 0; nothing was loaded",
                code="artifact_incompatible",
            )
        load_state(state, self.layer, self.optimizer, self.config.optimizer)
        self.version, self.step = state.version, state.step

    def _update(self, loss: Loss, batch: TensorBatch) -> StepOutcome:
        value = loss(batch, self.layer(batch.hidden_states), self.layer)
        loss_value = check_loss(value)
        value.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        grad_norm = check_gradients(self.layer)
        self.optimizer.step()
        retract_(self.layer)
        check_weights(self.layer)
        check_optimizer_state(self.optimizer)
        self.version += 1
        self.step += 1
        return StepOutcome(
            loss=loss_value,
            grad_norm=grad_norm,
            learning_rates=tuple(group["lr"] for group in self.optimizer.param_groups),
            rows=batch.rows,
        )
