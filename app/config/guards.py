"""When a train step is refused that could be computed."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from app.faults import OURS


def _off_or_above_one(factor: float) -> float:
    """A factor of at most 1 would refuse a step that is like all the others."""
    if 0 < factor <= 1:
        raise PydanticCustomError(f"{OURS}out_of_range", "expected 0 (off) or more than 1")
    return factor


Factor = Annotated[float, Field(ge=0, le=1e9), AfterValidator(_off_or_above_one)]


class CanaryConfig(BaseModel):
    """Rows of the first steps that are watched for ever: their loss may not get worse."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    rows: int = Field(default=64, ge=0, le=1024, description="how many are watched; 0: none")
    every: int = Field(
        default=8, ge=1, le=10_000, description="accepted steps from one look at them to the next"
    )
    tolerance: float = Field(
        default=1.0,
        ge=0,
        le=1e6,
        description="refused above the best loss plus this many times the first one",
    )


class GuardsConfig(BaseModel):
    """When a step is refused that could be computed; what is not finite always is.

    Part of the config and not of the settings: a replay must decide as the first time. The
    defaults let every honest run pass that was measured; docs/models.md has the numbers.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    warm_up: int = Field(
        default=20,
        ge=1,
        le=1_000_000,
        description="accepted steps from which the guards learn what is ordinary",
    )
    loss_spike: Factor = Field(
        default=1000.0,
        description="a loss is refused above this many times its running mean; 0: off",
    )
    grad_norm: Factor = Field(
        default=1000.0, description="the same for the norm of all gradients; 0: off"
    )
    canary: CanaryConfig = Field(
        default=CanaryConfig(), description="rows whose loss may not get worse"
    )
