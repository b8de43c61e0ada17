"""What the guards remember, as named tensors and JSON, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from app.config import ModelConfig
from app.layers.kind import Shape
from app.training.batch import TensorBatch, dtype_of, row_shape
from app.training.guards.baseline import Baselines
from app.training.guards.canary import Anchor, Canary, kept_fields
from app.training.guards.state import GuardState
from app.training.losses import Loss
from app.training.stored import StoredArrays, incompatible
from app.types import Json

_PREFIX = "canary."


class _Scalars(BaseModel):
    """The JSON half of the record.

    Attributes:
        baselines: by the name of the loss.
        rows: how many the canary has so far.
        anchor: as in `Canary`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    baselines: dict[str, Baselines]
    rows: int = Field(ge=0)
    anchor: Anchor | None


def canary_tensors(state: GuardState) -> Mapping[str, Tensor]:
    """The canary's rows, as tensors `canary.…`; none before the first step."""
    rows = state.canary.rows
    if rows is None:
        return {}
    return {f"{_PREFIX}{name}": tensor for name, tensor in rows.tensors().items()}


def to_scalars(state: GuardState) -> Json | None:
    """The scalars; none before the first step.

    So a model that was never trained has the record that it had before there were guards.
    """
    if not state.baselines:
        return None
    rows = state.canary.rows
    scalars = _Scalars(
        baselines=dict(state.baselines), rows=rows.rows if rows else 0, anchor=state.canary.anchor
    )
    return scalars.model_dump(mode="json")


def from_record(
    stored: StoredArrays,
    scalars: Json | None,
    config: ModelConfig,
    loss: Loss,
    device: torch.device,
) -> GuardState:
    """The guards of a state; one without guards is from before the first step.

    Raises:
        ArtifactInvalid: `artifact_incompatible`.
    """
    if scalars is None:
        return GuardState()
    try:
        found = _Scalars.model_validate(scalars)
    except ValidationError:
        raise incompatible("guards that cannot be understood") from None
    wanted = config.guards.canary.rows
    if found.rows > wanted or (found.anchor is not None and found.rows != wanted):
        raise incompatible(f"a canary of {found.rows} rows, where the config says {wanted}")
    rows = _take_rows(stored, found.rows, config, loss, device) if found.rows else None
    return GuardState(found.baselines, Canary(rows, found.anchor))


def _take_rows(
    stored: StoredArrays, rows: int, config: ModelConfig, loss: Loss, device: torch.device
) -> TensorBatch:
    has_mask = f"guards.{_PREFIX}mask" in stored
    tensors: dict[str, Any] = {}
    for name in sorted(kept_fields(loss) | ({"mask"} if has_mask else set())):
        place = f"guards.{_PREFIX}{name}"
        found = stored.shape_of(place)[1:]
        is_free = name == "targets" and loss.has_free_targets
        wanted: Shape = (None,) if is_free else row_shape(name, config)
        if len(found) == len(wanted):
            # Where any length is right, the one that is there.
            lengths = zip(wanted, found, strict=True)
            shape = tuple(there if length is None else length for length, there in lengths)
        else:
            shape = tuple(length or 0 for length in wanted)  # which is refused
        tensors[name] = stored.take(place, dtype_of(name), (rows, *shape), device)
    return TensorBatch(**tensors)
