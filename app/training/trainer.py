"""The trainer: the one mutable copy of a model, and every change that can be made to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import Tensor

from app.config import ModelConfig
from app.errors import PreconditionFailed
from app.layers import build, folded
from app.training.changes import (
    FitOutcome,
    configure,
    fit,
    replace_weights,
    roll_back,
    set_weights,
)
from app.training.digests import state_digest_now
from app.training.gate import Weights
from app.training.gradients import build_accumulation
from app.training.guards import Guards
from app.training.memory import Memory
from app.training.optimizers import build_optimizer
from app.training.randomness import ALONE, Randomness
from app.training.recipes import RECIPES
from app.training.savepoint import Savepoint
from app.training.schedule import Schedule
from app.training.state import layer_tensors, load_state, to_state
from app.training.step import StepOutcome
from app.types import (
    ChangeRequest,
    Configure,
    Fit,
    GateDescription,
    Judge,
    NamedArrays,
    Replace,
    Rollback,
    Serve,
    TrainerState,
    TrainStep,
)

__all__ = ["FitOutcome", "StepOutcome", "Trainer"]

_CPU = torch.device("cpu")


class Trainer:
    """Layer, optimizer, guards and counters of one model; one thread at a time may use it.

    A step is what a plain PyTorch loop does, with the same bits: forward, `loss.backward()`,
    `optimizer.step()`. A change that raises leaves everything as it was.

    Args:
        config: what the model is; its seed alone decides the initial weights.
        device: where layer and optimizer live; the initial weights are made on the CPU.
        turn: one for all trainers that are at work at once; held while a layer draws.

    Attributes:
        observed: what was seen of the stream; None where nothing is kept.
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
        turn: AbstractContextManager[object] = ALONE,
    ) -> None:
        self.config = config
        self.layer = build(config).to(device).train()
        self.optimizer = build_optimizer(config.optimizer, self.layer)
        self.schedule = Schedule(config.scheduler, self.optimizer)
        self.accumulation = build_accumulation(config, self.layer)
        self.clipping = config.gradient_clipping
        self.randomness = Randomness(self.layer, config.seed, device, turn)
        self.version = 1
        self.step = 0
        self._recipe = RECIPES[config.recipe](config, self.layer, device)
        self.observed = self._recipe.observed
        self.guards = Guards(config, self._recipe.loss, device)
        self.memories: tuple[Memory, ...] = (
            self.guards,
            self.schedule,
            self.accumulation,
            *self._recipe.memories,
        )
        self._undo = Savepoint(self)
        # Without a parametrization the layer's tensors are those that serving multiplies with.
        self._is_folded = folded(self.layer).keys() == layer_tensors(self.layer).keys()

    def apply(
        self, request: ChangeRequest, *, undo: Savepoint | None = None
    ) -> StepOutcome | FitOutcome | None:
        """Make one change; tells what a step or a fit did, and nothing for the other kinds.

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
        outcome: StepOutcome | FitOutcome | None = None
        with self._all_or_nothing(request, undo):
            match request:
                case TrainStep():
                    outcome = self._recipe.update(self, request)
                case Rollback():
                    roll_back(self, request, self.config)
                case Replace():
                    replace_weights(self, request, self.config)
                case Fit():
                    outcome = fit(self, request, self.config)
                case Configure():
                    configure(self, request)
                case Judge() | Serve():
                    pass  # for the gate alone: nothing changes of what learns
            if self._recipe.gate is not None:
                self._recipe.gate.follow(self, request)
        return outcome

    def train(self, step: TrainStep) -> StepOutcome:
        """Apply one train step; see `apply`."""
        outcome = self.apply(step)
        assert isinstance(outcome, StepOutcome), "a step tells what it did"
        return outcome

    @property
    def learning_rates(self) -> tuple[float, ...]:
        """Of each parameter group, as the next step would use them."""
        return tuple(group["lr"] for group in self.optimizer.param_groups)

    def savepoint(self) -> Savepoint:
        """A savepoint taken now, for undoing several changes at once; it may be taken again."""
        return Savepoint(self)

    @property
    def drift(self) -> float | None:
        """How much less of the newest vectors the map captures than of those before them."""
        return None if self.observed is None else self.observed.state.drift.figure

    @property
    def held_back(self) -> Weights | None:
        """What `live` stays at; None while it may follow the newest version."""
        gate = self._recipe.gate
        return None if gate is None else gate.held_back

    def describe_gate(self) -> GateDescription | None:
        """Whether `live` may follow the newest version; None without a gate."""
        gate = self._recipe.gate
        return None if gate is None else gate.describe()

    def serving(self) -> dict[str, Tensor]:
        """The plain tensors that `/reduce` multiplies with, in memory of their own."""
        return folded(self.layer)

    def assign(self, tensors: NamedArrays) -> None:
        """Begin with weights from plain tensors; counters and optimizer state stay.

        Raises:
            ArtifactInvalid: the tensors do not fit the layer; nothing was set.
        """
        set_weights(self, tensors)
        for memory in self.memories:
            memory.forget()

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
