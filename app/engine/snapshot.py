"""Snapshot: an immutable inference copy at one version; what `/reduce` multiplies with."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from app.codecs import digest, short_digest
from app.config import ModelConfig
from app.layers import plain
from app.types import FloatArray, NamedArrays, Stamp

_ALIGNMENT = 16

# A request body is a read-only buffer, and torch warns that a tensor over it could be written to.
# A snapshot never writes to its input.
warnings.filterwarnings("ignore", message="The given NumPy array is not writable")


class Snapshot:
    """One version of a model, ready to multiply.

    Args:
        model: the model's name.
        version: the version of these weights.
        step: optimizer updates behind them.
        config: what the layer is.
        tensors: the folded serving tensors, owned by this snapshot from now on.
        dtype: what `multiply` computes in; the answer is always float32.

    Attributes:
        stamp: model, version and digest, as every answer carries them.
    """

    __slots__ = (
        "_device",
        "_layer",
        "dtype",
        "input_size",
        "n_components",
        "stamp",
        "step",
        "tensors",
    )

    def __init__(
        self,
        model: str,
        version: int,
        step: int,
        config: ModelConfig,
        tensors: Mapping[str, Tensor],
        dtype: torch.dtype,
    ) -> None:
        self.tensors = dict(tensors)
        self.step = step
        self.stamp = Stamp(model, version, short_digest(digest(to_arrays(tensors))))
        cast = {name: tensor.to(dtype) for name, tensor in tensors.items()}
        self._layer: nn.Module = plain(config, cast)
        self.dtype = dtype
        self._device = next(iter(cast.values())).device
        self.input_size = config.input_size
        self.n_components: int = cast["Q_reduced"].shape[0]

    def multiply(self, hidden_states: FloatArray) -> FloatArray:
        """Reduce a batch.

        Shape: hidden_states `(…, input_size)` float32; returns `(…, n_components)` float32.
        """
        with torch.inference_mode():
            rows = _aligned(torch.from_numpy(hidden_states)).to(self._device, self.dtype)
            reduced: Tensor = self._layer(rows)
            array: FloatArray = reduced.to("cpu", torch.float32).numpy()
            return array


def _aligned(rows: Tensor) -> Tensor:
    """The rows where the kernels expect them.

    Measured: an address that is not a multiple of 16 sums in another order, so the same vectors
    would give other last bits in a format whose header ends elsewhere.
    """
    return rows.clone() if rows.data_ptr() % _ALIGNMENT else rows


def to_arrays(tensors: Mapping[str, Tensor]) -> NamedArrays:
    """The same tensors as numpy arrays on the host (no copy when they are there already)."""
    return {name: np.asarray(tensor.detach().cpu().numpy()) for name, tensor in tensors.items()}
