"""What a model observed, as named tensors and JSON, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.training.observed.drift import Drift
from app.training.observed.held_out import HeldOut
from app.training.observed.moments import Moments, OuterSum
from app.training.observed.reservoir import Reservoir
from app.training.observed.rows import Rows
from app.training.observed.state import ObservedState
from app.training.stored import StoredArrays, incompatible
from app.types import Json

_CPU = torch.device("cpu")
# Above, float64 sums and float64 random numbers lose whole vectors.
_MOST = 2**52


class _Summed(BaseModel):
    """The JSON half of an `OuterSum`: how many rows, how many of them pending."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    count: int = Field(default=0, ge=0, le=_MOST)
    pending: int = Field(default=0, ge=0, le=_MOST)


class _Scalars(BaseModel):
    """The JSON half of the record.

    Attributes:
        second, pairs: of the moments.
        reservoir: vectors offered to it.
        held_out: vectors kept aside, newest or not.
        positives: positions of these behind which positives stand.
        drift, offered, is_given: as in `ObservedState`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    second: _Summed
    pairs: _Summed
    reservoir: int = Field(ge=0, le=_MOST)
    held_out: int = Field(ge=0, le=_MOST)
    positives: int = Field(ge=0, le=_MOST)
    drift: Drift
    offered: int = Field(ge=0, le=_MOST)
    is_given: bool


def to_rows(state: ObservedState) -> Mapping[str, Rows]:
    """Every rows of a state that has any, by name."""
    moments, held_out = state.moments, state.held_out
    named = {
        "sum": moments.sum,
        "second.products": moments.second.products,
        "second.pending": moments.second.pending,
        "pairs.products": moments.pairs.products,
        "pairs.pending": moments.pairs.pending,
        "reservoir": state.reservoir.rows,
        "held_out.vectors": held_out.vectors.rows,
        "held_out.positives": held_out.positives.rows,
    }
    is_anything = state.offered or moments.count
    return {name: rows for name, rows in named.items() if is_anything and rows.count}


def to_scalars(state: ObservedState) -> Json | None:
    """The scalars; none before anything was observed."""
    if not (state.offered or state.moments.count or state.is_given):
        return None
    return _Scalars(
        second=_summed(state.moments.second),
        pairs=_summed(state.moments.pairs),
        reservoir=state.reservoir.offered,
        held_out=state.held_out.vectors.offered,
        positives=state.held_out.positives.offered,
        drift=state.drift,
        offered=state.offered,
        is_given=state.is_given,
    ).model_dump(mode="json")


def from_record(stored: StoredArrays, scalars: Json | None, empty: ObservedState) -> ObservedState:
    """The state that a record describes.

    Args:
        stored: holds its arrays as `observed.<name>`, among others.
        scalars: as `to_scalars` gave them.
        empty: of the model that it is for.

    Raises:
        ArtifactInvalid: `artifact_incompatible`.
    """
    if scalars is None:
        return empty
    try:
        found = _Scalars.model_validate(scalars)
    except ValidationError:
        raise incompatible("observations that cannot be understood") from None
    if not (found.offered or found.second.count):
        return replace(empty, is_given=found.is_given)
    kept = empty.held_out
    return ObservedState(
        moments=Moments(
            sum=_taken(stored, "sum", empty.moments.sum, 1),
            second=_taken_sum(stored, "second", empty.moments.second, found.second),
            pairs=_taken_sum(stored, "pairs", empty.moments.pairs, found.pairs),
        ),
        reservoir=_taken_some(stored, "reservoir", empty.reservoir, found.reservoir),
        held_out=HeldOut(
            vectors=_taken_some(stored, "held_out.vectors", kept.vectors, found.held_out),
            positives=_taken_some(stored, "held_out.positives", kept.positives, found.positives),
        ),
        drift=found.drift,
        offered=found.offered,
        is_given=found.is_given,
    )


def _summed(summed: OuterSum) -> _Summed:
    return _Summed(count=summed.count, pending=summed.pending.count)


def _taken_sum(stored: StoredArrays, name: str, like: OuterSum, found: _Summed) -> OuterSum:
    width = like.products.width if found.count > found.pending else 0
    return OuterSum(
        count=found.count,
        products=_taken(stored, f"{name}.products", like.products, width),
        pending=_taken(stored, f"{name}.pending", like.pending, found.pending),
    )


def _taken_some(stored: StoredArrays, name: str, like: Reservoir, offered: int) -> Reservoir:
    rows = _taken(stored, name, like.rows, min(offered, like.capacity))
    return Reservoir(capacity=like.capacity, rows=rows, offered=offered)


def _taken(stored: StoredArrays, name: str, like: Rows, count: int) -> Rows:
    if not count:
        return Rows(width=like.width, dtype=like.dtype)
    return Rows.of(stored.take(f"observed.{name}", like.dtype, (count, like.width), _CPU))
