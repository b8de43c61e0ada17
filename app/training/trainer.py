"""The trainer: the one mutable copy of a model, and every change that can be made to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from app.config import ModelConfig
from app.errors import PreconditionFailed
from app.layers import build, folded
from app.training.changes import configure, fit, replace_weights, roll_back, set_weights
from app.training.digests import state_digest_now
from app.training.guards import Guards
from app.training.losses import build_loss
from app.training.memory import Memory
from app.training.optimizers import build_optimizer
from app.training.recipes import RECIPES
from app.training.savepoint import Savepoint
from app.training.state import layer_tensors, load_state, to_state
from app.training.step import StepOutcome
from app.types import (
    ChangeRequest,
    Configure,
    Fit,
    FloatArray,
    Judge,
    NamedArrays,
    Replace,
    Rollback,
    Serve,
    TrainerState,
    TrainStep,
)

__all__ = ["StepOutcome", "Trainer"]

_CPU = torch.device("cpu")


class Trainer:
    """Layer, optimizer, guards and counters of one model; one thread at a time may use it.

    A step is what a plain PyTorch loop does, with the same bits: forward, `loss.backward()`,
    `optimizer.step()`. A change that raises leaves everything as it was.

    Args:
        config: what the model is; its seed alone decides the initial weights.
        device: where layer and optimizer live; the initial weights are made on the CPU.
        sample: hidden states (rows, input_size) for an initialiser that starts from data.

    Attributes:
        version: starts at 1, and rises by one for every accepted change of the weights.
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
        self.guards = Guards(config, build_loss(config.loss), device)
        self._recipe = RECIPES[config.recipe](config, device)
        self.memories: tuple[Memory, ...] = (self.guards, *self._recipe.memories)
        self._undo = Savepoint(self)
        # Without a parametrization the layer's tensors are those that serving multiplies with.
        self._is_folded = folded(self.layer).keys() == layer_tensors(self.layer).keys()

    def apply(self, request: ChangeRequest, *, undo: Savepoint | None = None) -> StepOutcome | None:
        """Make one change; tells what a step did, and nothing for the other kinds.

        Args:
            request: what to change.
            undo: a savepoint of the state as it is now, which saves taking one.

        Raises:
            PreconditionFailed: `version_mismatch`.
            ConfigInvalid: the change names something that does not exist, or a value out of range.
            ArtifactInvalid: given weights or a given state are not this model's.
            Unacceptable, TooLarge: the batch does not fit the loss.
            StepRejected: a guard refused the step.
        """
        with self._all_or_nothing(request, undo):
            match request:
                case TrainStep():
                    return self._recipe.update(self, request)
                case Rollback():
                    roll_back(self, request, self.config)
                case Replace():
                    replace_weights(self, request, self.config)
                case Fit():
                    fit(self, request, self.config)
                case Configure():
                    configure(self, request)
                case Judge():
                    pass
                case Serve():
                    pass  # which version is served changes nothing of what learns
        return None

    def train(self, step: TrainStep) -> StepOutcome:
        """Apply one train step; see `apply`."""
        outcome = self.apply(step)
        assert outcome is not None, "a step tells what it did"
        return outcome

    @property
    def learning_rates(self) -> tuple[float, ...]:
        """Of each parameter group, as the next step would use them."""
        return tuple(group["lr"] for group in self.optimizer.param_groups)

    def savepoint(self) -> Savepoint:
        """A savepoint taken now, for undoing several changes at once; it may be taken again."""
        return Savepoint(self)

    def serving(self) -> dict[str, Tensor]:
        """The plain tensors that `/reduce` multiplies with, in memory of their own."""
        return folded(self.layer)

    def assign(self, tensors: NamedArrays) -> None:
        """Set the weights from plain tensors; counters, optimizer state and guards stay.

        Raises:
            ArtifactInvalid: the tensors do not fit the layer; nothing was set.
        """
        set_weights(self, tensors)

    def state(self) -> TrainerState:
        """Everything that learning needs, copied to the host."""
        return to_state(self)

    def state_digest(self, *, serving: str | None = None) -> str:
        """The digest of `state()`, without the copy.

        Args:
            serving: the digest of `serving()` as it is now, when it is known.
        """
        return state_digest_now(self, serving if self._is_folded else None)

    def restore(self, state: TrainerState) -> None:
        """Continue from a state as if training had never stopped.

        Raises:
            ArtifactInvalid: `artifact_incompatible`; nothing was loaded.
        """
        load_state(state, self, self.config)
        self.version, self.step = state.version, state.step

    @contextmanager
    def _all_or_nothing(self, request: ChangeRequest, undo: Savepoint | None) -> Iterator[None]:
        if request.if_version is not None and request.if_version != self.version:
            raise PreconditionFailed(
                "version_mismatch",
                f"the model is at version {self.version}, not at the one that the request "
                "expects; read its state and decide again",
            )
        if undo is None:
            undo = self._undo
            undo.take()
        try:
            yield
        except BaseException:
            undo.restore()
            raise
        finally:
            self.optimizer.zero_grad(set_to_none=True)
