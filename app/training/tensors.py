"""Tensors of a learner as arrays on the host."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from app.types import NamedArrays


def to_arrays(tensors: Mapping[str, Tensor]) -> NamedArrays:
    """The same tensors as arrays on the host, in the same memory where that is the host's."""
    return {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()}
