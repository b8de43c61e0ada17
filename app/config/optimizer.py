"""How gradients become updates: optimizer, schedulers, clipping, accumulation."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.config.component import Component

MAX_LEARNING_RATE = 100.0
MAX_ACCUMULATED = 10_000


class ParameterGroup(BaseModel):
    """Hyper-parameters for the parameters whose name matches a regular expression."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    match: str = Field(description="regular expression searched in the parameter's name")

    @property
    def arguments(self) -> dict[str, Any]:
        """The group's own hyper-parameters; what it does not name comes from the optimizer."""
        return dict(self.model_extra or {})


class OptimizerConfig(Component):
    """An optimizer by its torch name, with its arguments and parameter groups."""

    groups: tuple[ParameterGroup, ...] = Field(
        default=(),
        strict=False,
        fail_fast=True,
        description="first match wins; parameters that match none use the optimizer's arguments",
    )


Bound = Annotated[float, Field(gt=0, le=1e30)]


class ClippingConfig(BaseModel):
    """Limits of the gradients, as `torch.nn.utils.clip_grad_norm_` and `clip_grad_value_` do."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    max_norm: Bound | None = Field(default=None, description="of all gradients together")
    norm_type: Annotated[float, Field(ge=1, le=1e6)] | Literal["inf"] = Field(
        default=2.0, description='which norm: the p of L_p, or "inf", the largest entry'
    )
    clip_value: Bound | None = Field(default=None, description="of each entry; before max_norm")
