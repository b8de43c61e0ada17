"""Gradients between the backward pass and the optimizer: clipped, and averaged over steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_, clip_grad_value_
from torch.optim import LBFGS

from app.config import ClippingConfig, ModelConfig
from app.errors import ConfigInvalid, StepRejected
from app.training.guards.finite import is_finite
from app.training.memory import KnownDigest
from app.training.stored import StoredArrays, incompatible
from app.types import Json


@dataclass(frozen=True, slots=True)
class Accumulated:
    """Gradients that wait for those of further steps; immutable, so that an undo is a reference.

    Attributes:
        count: steps that they are the sum of.
        loss: the sum of their losses.
        sums: by raw parameter name; a parameter that no step reached has none.
    """

    count: int = 0
    loss: float = 0.0
    sums: Mapping[str, Tensor] = field(default_factory=dict)


class _Scalars(BaseModel):
    """The JSON half of the record."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    count: int = Field(ge=1)
    loss: float


class Accumulation:
    """Averages the gradients of several steps: `g = (g_1 + … + g_N) / N`.

    A `Memory` of the learner.

    Args:
        every: N; with 1 nothing is ever kept.
        layer: whose gradients they are.

    Attributes:
        state: what waits.
    """

    part: ClassVar[str] = "gradients"

    def __init__(self, every: int, layer: nn.Module) -> None:
        self.state = Accumulated()
        self._every = every
        self._layer = layer
        self._digest = KnownDigest()

    def add(self, loss: float) -> float | None:
        """Add the gradients of one step, which stand in the layer.

        The N-th puts the average in their place.

        Returns:
            The mean loss of the N steps with the N-th, None before it.

        Raises:
            StepRejected: `non_finite_gradient`: the sum overflows.
        """
        if self._every == 1:
            return loss
        sums = dict(self.state.sums)
        for name, parameter in self._layer.named_parameters():
            if parameter.grad is not None:
                gradient = parameter.grad.detach()
                sums[name] = sums[name] + gradient if name in sums else gradient.clone()
        if not is_finite(sums.values()):
            raise StepRejected(
                "the gradients of this step and those before it have no finite sum; "
                "scale the batch down",
                reason="non_finite_gradient",
            )
        count, total = self.state.count + 1, self.state.loss + loss
        if count < self._every:
            self.state = Accumulated(count, total, sums)
            return None
        for name, parameter in self._layer.named_parameters():
            parameter.grad = sums[name] / count if name in sums else None
        self.state = Accumulated()
        return total / count

    def tensors(self) -> Mapping[str, Tensor]:
        """See `Memory.tensors`."""
        return self.state.sums

    def digest(self) -> str:
        """See `Memory.digest`."""
        return self._digest.of(self.tensors())

    def scalars(self) -> Json | None:
        """See `Memory.scalars`."""
        return {"count": self.state.count, "loss": self.state.loss} if self.state.count else None

    def read(self, stored: StoredArrays, scalars: Json | None) -> Accumulated:
        """See `Memory.read`."""
        if scalars is None:
            return Accumulated()
        try:
            found = _Scalars.model_validate(scalars)
        except ValidationError:
            raise incompatible("waiting gradients that cannot be understood") from None
        if found.count >= self._every:
            raise incompatible(f"{found.count} waiting gradients of {self._every}")
        sums = {
            name: stored.take_like(f"{self.part}.{name}", parameter)
            for name, parameter in self._layer.named_parameters()
            if f"{self.part}.{name}" in stored
        }
        return Accumulated(found.count, found.loss, sums)

    def forget(self) -> None:
        """Begin again, as for a new model."""
        self.state = Accumulated()


def build_accumulation(config: ModelConfig, layer: nn.Module) -> Accumulation:
    """The accumulation that a config asks for.

    Raises:
        ConfigInvalid: its optimizer evaluates the loss again, which needs one batch at a time.
    """
    if config.accumulate > 1 and config.optimizer.type == LBFGS.__name__:
        raise ConfigInvalid(
            "expected accumulate of 1 with LBFGS, whose step computes the loss of one batch again "
            f"and again, got {config.accumulate}; leave it out, or choose another optimizer",
            pointer="/accumulate",
        )
    return Accumulation(config.accumulate, layer)


def clip_(layer: nn.Module, limits: ClippingConfig) -> None:
    """Clip the gradients of a layer: each entry first, then all of them together.

    `torch.nn.utils.clip_grad_value_` and `clip_grad_norm_`, by their names; without limits nothing
    is done.
    """
    if limits.clip_value is None and limits.max_norm is None:
        return
    parameters = list(layer.parameters())
    if limits.clip_value is not None:
        clip_grad_value_(parameters, limits.clip_value)
    if limits.max_norm is not None:
        clip_grad_norm_(parameters, limits.max_norm, float(limits.norm_type))
