"""Recipes: what a train step does, and what a model observes while it learns."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Recipe = Literal["plain", "distil"]
Share = Annotated[float, Field(ge=0, le=1)]


class DistilConfig(BaseModel):
    """The recipe `distil`: neighbourhoods of the full vectors, kept by the reduced ones."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    profile: Literal["stable", "fast"] = Field(
        default="stable",
        description="stable: a reservoir of everything; fast: a recent window, at a higher rate",
    )
    pair_weight: float = Field(
        default=0.3,
        ge=0,
        le=100,
        description="weight of the pair loss where positives come: 0 keeps neighbours, "
        "0.3 is balanced, 1 to 3 puts the task first",
    )
    temperature: float = Field(
        default=0.05, ge=1e-3, le=10, description="of both softmaxes over cosines"
    )
    softening: Annotated[float, Field(ge=0.5, le=2)] | Literal["auto"] = Field(
        default="auto",
        description="by how much the temperature is higher over the reduced cosines: a little "
        "above 1, neighbours crowd less; auto: 1.1 up to a quarter of the input size, 1 from a "
        "third on",
    )
    rehearsed: int = Field(
        default=192,
        ge=0,
        le=4096,
        description="vectors of the reservoir that a gradient step distils again beside its batch",
    )
    pair_scale: float = Field(
        default=20.0, gt=0, le=1000, description="of the cosines in the pair loss"
    )
    warm_up: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        default="auto",
        description="vectors before the first gradient; auto: the larger of 2048 and "
        "32 n_components; while no pairs come, twice as many at a third of the input size, and 4 "
        "times as many above it",
    )


class ObserveConfig(BaseModel):
    """What is remembered of the vectors that a model was trained on; bounds its memory."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    reservoir: int = Field(default=4096, ge=64, le=65_536, description="vectors kept")


class GateConfig(BaseModel):
    """When `live` waits: while the newest version is worse on held-out vectors.

    Of the stream every 20th vector (or pair) is kept aside and never trained on.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    every: int = Field(
        default=32, ge=0, le=100_000, description="accepted steps between two looks; 0: no gate"
    )
    bound: Share = Field(
        default=0.005, description="how much worse nn10 (and mrr, with pairs) may be"
    )
    rows: int = Field(default=2000, ge=32, le=20_000, description="most vectors held out")
