"""What the gate remembers, as named tensors and JSON, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from torch import Tensor

from app.training.gate.state import GateState, Judgement, Weights
from app.training.stored import StoredArrays, incompatible
from app.types import Json

_PREFIX = "passed."


class _Passed(BaseModel):
    """Which version the tensors are."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    version: int = Field(ge=1)
    step: int = Field(ge=0)


class _Scalars(BaseModel):
    """The JSON half of the record."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    is_open: bool
    passed: _Passed | None
    judgement: Judgement | None
    steps: int = Field(ge=0)

    @model_validator(mode="after")
    def _check_passed(self) -> Self:
        if not self.is_open and self.passed is None:
            raise ValueError("a closed gate holds a version")
        return self


def passed_tensors(state: GateState) -> Mapping[str, Tensor]:
    """The tensors of the version that passed, as `passed.…`; none before the first one."""
    tensors = {} if state.passed is None else state.passed.tensors
    return {f"{_PREFIX}{name}": tensor for name, tensor in tensors.items()}


def to_scalars(state: GateState) -> Json | None:
    """The scalars; none before the first step."""
    if state.passed is None and not state.steps:
        return None
    passed = None
    if state.passed is not None:
        passed = _Passed(version=state.passed.version, step=state.passed.step)
    scalars = _Scalars(
        is_open=state.is_open, passed=passed, judgement=state.judgement, steps=state.steps
    )
    return scalars.model_dump(mode="json")


def from_record(
    stored: StoredArrays, scalars: Json | None, form: Mapping[str, Tensor], device: torch.device
) -> GateState:
    """The gate of a state; one without a gate is from before the first step.

    Args:
        stored: holds the tensors as `gate.passed.…`.
        scalars: as `to_scalars` gave them.
        form: tensors of the names, dtypes and shapes that serving has.
        device: where the layer is.

    Raises:
        ArtifactInvalid: `artifact_incompatible`.
    """
    if scalars is None:
        return GateState()
    try:
        found = _Scalars.model_validate(scalars)
    except ValidationError:
        raise incompatible("a gate that cannot be understood") from None
    passed = None
    if found.passed is not None:
        tensors = {
            name: stored.take(f"gate.{_PREFIX}{name}", tensor.dtype, tuple(tensor.shape), device)
            for name, tensor in form.items()
        }
        passed = Weights(found.passed.version, found.passed.step, tensors)
    return GateState(found.is_open, passed, found.judgement, found.steps)
