"""Evaluations and derivatives: what is asked about a version, and what is answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from app.config import Component
from app.types.changes import Batch
from app.types.values import FloatArray, Stamp


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluate:
    """What is to be computed of a version on a batch; changes nothing.

    Shape: tangents like the batch's hidden_states.

    Attributes:
        losses: by name; none named means the config's, where the batch has what it needs.
        tangents: along which the sensitivity is taken; random ones by default.
        branch: which named branch of the layers is meant.
    """

    batch: Batch
    losses: tuple[Component, ...] = ()
    tangents: FloatArray | None = None
    branch: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What a version makes of a batch.

    Attributes:
        rows: how many were looked at.
        losses: value by name of the loss; none that is not finite.
        metrics: value by name of the metric; those that the batch has too few rows for, or that
            the layers have no meaning for, are not there.
    """

    rows: int
    losses: Mapping[str, float | None]
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationAnswer(Evaluation):
    """What a look at a version answers; see `Evaluation`."""

    model: str
    version: int
    digest: str


@dataclass(frozen=True, slots=True)
class Derivative:
    """Reduced vectors and their derivatives along given tangents.

    Shape: both (…, *output_shape), float32.
    """

    reduced: FloatArray
    derivative: FloatArray
    stamp: Stamp
