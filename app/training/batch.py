"""A batch as tensors: every field flattened to rows, on the device."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from app.types import Batch, FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorBatch:
    """What a loss computes on.

    Shape: hidden_states (rows, input_size); targets (rows, n_components); sample_weights (rows,).
    """

    hidden_states: Tensor
    targets: Tensor | None = None
    sample_weights: Tensor | None = None

    @property
    def rows(self) -> int:
        """How many vectors the batch holds."""
        return len(self.hidden_states)


def to_tensors(batch: Batch, device: torch.device) -> TensorBatch:
    """Copy a decoded batch to the device, its leading dimensions flattened to rows.

    Args:
        batch: as the request gave it, with any leading dimensions, also none.
        device: where the layer is.

    Returns:
        Tensors of their own memory: the arrays may be read-only views of a request's body.
    """
    return TensorBatch(
        hidden_states=_copied(_rows(batch.hidden_states), device),
        targets=None if batch.targets is None else _copied(_rows(batch.targets), device),
        sample_weights=(
            None if batch.sample_weights is None else _copied(batch.sample_weights.ravel(), device)
        ),
    )


def _rows(array: FloatArray) -> FloatArray:
    return array.reshape(-1, array.shape[-1])


def _copied(array: FloatArray, device: torch.device) -> Tensor:
    # Not from_numpy: it shares memory, and warns when that memory is read-only.
    return torch.tensor(np.ascontiguousarray(array), dtype=torch.float32, device=device)
