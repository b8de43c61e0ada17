"""A batch as tensors: every field flattened to rows, on the device."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from app.config import ModelConfig
from app.layers import Context, input_shape, output_shape
from app.layers.kind import Shape
from app.types import Batch

_DTYPES = {"labels": torch.int64, "mask": torch.bool}
_OF_ROWS = tuple(field.name for field in fields(Batch))


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorBatch:
    """What a loss computes on.

    Shape: hidden_states, positives, negatives (rows, *input_shape); targets (rows, *output_shape);
    labels (rows,) int64; sample_weights (rows,); mask (rows, length) bool; bank (vectors,
    input_size).

    Attributes:
        bank: unit vectors seen before, from the model's reservoir, where it keeps one.
        rehearsed: which rows of the bank are trained on again, int64.
        branch: which named branch of the layers is meant; None for the config's first one.
    """

    hidden_states: Tensor
    targets: Tensor | None = None
    positives: Tensor | None = None
    negatives: Tensor | None = None
    labels: Tensor | None = None
    sample_weights: Tensor | None = None
    mask: Tensor | None = None
    bank: Tensor | None = None
    rehearsed: Tensor | None = None
    branch: str | None = None

    @property
    def rows(self) -> int:
        """How many rows the batch holds."""
        return len(self.hidden_states)

    def tensors(self) -> dict[str, Tensor]:
        """The fields that hold something for each row, by name."""
        values = {name: getattr(self, name) for name in _OF_ROWS}
        return {name: value for name, value in values.items() if value is not None}

    @property
    def context(self) -> Context:
        """What layers are told beside the rows."""
        return Context(mask=self.mask, branch=self.branch)


def to_tensors(
    batch: Batch, device: torch.device, config: ModelConfig, *, branch: str | None = None
) -> TensorBatch:
    """Copy a decoded batch to the device, its leading dimensions flattened to rows.

    Args:
        batch: as the request gave it, with any leading dimensions, also none; its shapes checked.
        device: where the layer is.
        config: says which dimensions belong to a row.
        branch: which named branch of the layers is meant.

    Returns:
        Tensors of their own memory: the arrays may be read-only views of a request's body.
    """
    tensors: dict[str, Any] = {}
    for name, array in batch.arrays().items():
        rows = array.reshape(-1, *array.shape[array.ndim - len(row_shape(name, config)) :])
        # Not from_numpy: it shares memory, and warns when that memory is read-only.
        whole = np.ascontiguousarray(rows)
        tensors[name] = torch.tensor(whole, dtype=dtype_of(name), device=device)
    return TensorBatch(**tensors, branch=branch)


def dtype_of(name: str) -> torch.dtype:
    """What a field of a `TensorBatch` holds."""
    return _DTYPES.get(name, torch.float32)


def row_shape(name: str, config: ModelConfig) -> Shape:
    """What belongs to one row of a field; targets may be of another width where a loss says."""
    match name:
        case "hidden_states" | "positives" | "negatives":
            return input_shape(config)
        case "targets":
            return output_shape(config)
        case "mask":
            return (None,)
    return ()
