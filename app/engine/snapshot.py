"""Snapshot: an immutable inference copy at one version; what `/reduce` multiplies with."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from app.codecs import digest, short_digest
from app.config import ModelConfig
from app.engine.tiling import FREE, Tiling, are_vectors
from app.layers import Context, declared_once, forward, input_shape, product
from app.layers.widths import size
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
        config: what the layers are.
        tensors: the folded serving tensors, owned by this snapshot from now on.
        dtype: what `product` computes in; the answer is always float32.
        tiling: the numbers of rows that a product may have.

    Attributes:
        stamp: model, version and digest, as every answer carries them.
        digest: the same digest in full.
        product: rows on the device in this dtype → reduced rows, the same.
        input_shape: of one row; None: any length.
        output_shape: of one reduced row.
        n_components: its last length; 0 where that may be any.
        multiply_adds: about how many one row costs.
        a_row: how many numbers one row has; a length that may be any counts as one.
        widest: how many numbers of one row its layers hold at once.
        is_shared: whether rows of several requests may lie in one product: they are vectors, and
            so is what is made of them.
        is_linear: whether it is one matrix, through which no NaN or infinity passes unseen.
        branches: that a request may choose from; the first is the default.
        uses_mask: whether a request may send a mask.
        warnings: what the config says that has no effect.
        input_dtype: of rows on the device: ids are never narrowed.
    """

    __slots__ = (
        "a_row",
        "branches",
        "device",
        "digest",
        "dtype",
        "input_dtype",
        "input_shape",
        "input_size",
        "is_linear",
        "is_shared",
        "multiply_adds",
        "n_components",
        "output_shape",
        "product",
        "stamp",
        "step",
        "tensors",
        "tiling",
        "uses_mask",
        "warnings",
        "widest",
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
        cast = {name: in_dtype(tensor, dtype) for name, tensor in tensors.items()}
        self.product = product(config, cast)
        self.dtype = dtype
        self.tiling = tiling
        self.device = next(iter(cast.values())).device
        self.input_size = config.input_size
        self._describe(config)

    def multiply(self, rows: Tensor) -> Tensor:
        """Reduce rows of the host's memory, wherever the layers are.

        Shape: rows `(rows, *input_shape)` float32; returns `(rows, *output_shape)` float32.
        """
        return self.product(rows.to(self.device, self.input_dtype)).to(_HOST, torch.float32)

    def multiply_within(self, rows: Tensor, context: Context) -> Tensor:
        """The same, with what the request says beside its rows."""
        assert isinstance(self.product, nn.Module), "one linear layer looks at no context"
        sent = rows.to(self.device, self.input_dtype)
        return forward(self.product, sent, context).to(_HOST, torch.float32)

    def _describe(self, config: ModelConfig) -> None:
        declared = declared_once(config)
        self.input_shape, self.output_shape = input_shape(config), declared.output
        self.n_components = declared.output[-1] or 0
        self.a_row = size(self.input_shape)
        self.widest = max(declared.widest, size(self.output_shape))
        self.multiply_adds = max(declared.multiply_adds, self.widest)
        self.is_shared = are_vectors(config)
        self.is_linear = declared.direct is not None
        self.branches, self.uses_mask = declared.branches, declared.uses_mask
        self.warnings = declared.warnings
        self.input_dtype = torch.float32 if declared.takes_ids else self.dtype


def in_dtype(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """A tensor of numbers in another dtype; whole numbers, such as counts, stay what they are."""
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def to_arrays(tensors: Mapping[str, Tensor]) -> NamedArrays:
    """The same tensors as numpy arrays on the host (no copy when they are there already)."""
    return {name: np.asarray(tensor.detach().cpu().numpy()) for name, tensor in tensors.items()}
