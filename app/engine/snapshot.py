"""Snapshot: an immutable inference copy at one version; what `/reduce` multiplies with."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from app.codecs import digest, short_digest
from app.config import ModelConfig
from app.engine.tiling import FREE, Tiling
from app.layers import product
from app.types import NamedArrays, Stamp

_HOST = torch.device("cpu")

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
        dtype: what `product` computes in; the answer is always float32.
        tiling: the numbers of rows that a product may have.

    Attributes:
        stamp: model, version and digest, as every answer carries them.
        digest: the same digest in full.
        product: rows on the device in this dtype → reduced rows, the same.
    """

    __slots__ = (
        "device",
        "digest",
        "dtype",
        "input_size",
        "n_components",
        "product",
        "stamp",
        "step",
        "tensors",
        "tiling",
    )

    def __init__(
        self,
        model: str,
        version: int,
        step: int,
        config: ModelConfig,
        tensors: Mapping[str, Tensor],
        dtype: torch.dtype,
        tiling: Tiling = FREE,
    ) -> None:
        self.tensors = dict(tensors)
        self.step = step
        self.digest = digest(to_arrays(tensors))
        self.stamp = Stamp(model, version, short_digest(self.digest))
        cast = {name: tensor.to(dtype) for name, tensor in tensors.items()}
        self.product = product(config, cast)
        self.dtype = dtype
        self.tiling = tiling
        self.device = next(iter(cast.values())).device
        self.input_size = config.input_size
        self.n_components: int = cast["Q_reduced"].shape[0]

    def multiply(self, rows: Tensor) -> Tensor:
        """Reduce rows of the host's memory, wherever the layer is.

        Shape: rows `(rows, input_size)` float32; returns `(rows, n_components)` float32.
        """
        return self.product(rows.to(self.device, self.dtype)).to(_HOST, torch.float32)


def to_arrays(tensors: Mapping[str, Tensor]) -> NamedArrays:
    """The same tensors as numpy arrays on the host (no copy when they are there already)."""
    return {name: np.asarray(tensor.detach().cpu().numpy()) for name, tensor in tensors.items()}
