"""A model's layers as a loss calls them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from app.errors import ConfigInvalid
from app.layers import Context, forward


@runtime_checkable
class Reconstructs(Protocol):
    """A layer that can map reduced vectors back."""

    input_size: int

    def reconstruct(self, reduced: Tensor) -> Tensor:
        """The hidden states that the reduced vectors stand for."""
        ...


@dataclass(frozen=True, slots=True)
class Reducer:
    """Reduces rows as the batch's own are reduced: the same layers, mask, branch and prefix.

    Args:
        layer: the whole stack.
        context: what the batch says beside its rows.
        dimensions: how many of the first components are kept; all of them by default.
    """

    layer: nn.Module
    context: Context
    dimensions: int | None = None
    # By identity, and with the rows themselves: what is forgotten gives its identity away.
    _known: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict, repr=False)

    def __call__(self, rows: Tensor) -> Tensor:
        """The reduced rows, with gradients.

        Shape: rows (rows, *input_shape); returns (rows, *output_shape), of the prefix.
        """
        whole = self._whole(rows)
        return whole if self.dimensions is None else whole[..., : self.dimensions]

    def reconstruct(self, reduced: Tensor) -> Tensor:
        """The hidden states that reduced rows stand for; what is not in the prefix is nothing.

        Raises:
            ConfigInvalid: the layers cannot map back.
        """
        if not isinstance(self.layer, Reconstructs):
            raise ConfigInvalid(
                "loss 'reconstruction' expects a layer that maps back, such as QRReduction alone, "
                "got others; choose another loss",
                pointer="/loss/type",
            )
        if self.dimensions is None:
            return self.layer.reconstruct(reduced)
        nothing = self._whole(reduced.new_zeros(1, self.layer.input_size)).expand(len(reduced), -1)
        return self.layer.reconstruct(torch.cat([reduced, nothing[:, self.dimensions :]], dim=-1))

    def _whole(self, rows: Tensor) -> Tensor:
        """All components; the same tensor is reduced once, whatever prefixes are asked for."""
        known = self._known.get(id(rows))
        if known is None:
            self._known[id(rows)] = known = rows, forward(self.layer, rows, self.context)
        return known[1]
