"""Which layers draw random numbers while they train."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.dropout import _DropoutNd


def draws(module: nn.Module) -> bool:
    """Whether any layer of a module draws in training; none does in evaluation.

    A layer of ours that draws says so by an attribute `draws` that is true.

    >>> draws(nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5)))
    True
    >>> draws(nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.0)))
    False
    """
    return any(_draws_itself(layer) for layer in module.modules())


def _draws_itself(layer: nn.Module) -> bool:
    if isinstance(layer, _DropoutNd):
        return layer.p > 0
    if isinstance(layer, nn.RReLU):
        return True
    # Recurrent layers and attention drop out in themselves, by a share of that name.
    share = getattr(layer, "dropout", 0.0)
    return getattr(layer, "draws", False) is True or (isinstance(share, float) and share > 0)
