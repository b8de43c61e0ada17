"""Layers that add a term of their own to the loss of a training step."""

from __future__ import annotations

from torch import Tensor, nn


class Penalised(nn.Module):
    """A layer whose training is not told by the loss alone.

    What its forwards were about is remembered until it is to `forget`.
    """

    def forget(self) -> None:
        """Remember no forward: the next one is the first of a step."""
        raise NotImplementedError

    def penalty(self, step: int) -> Tensor:
        """What the forwards since `forget` add to the loss; a scalar with gradients.

        Args:
            step: optimizer updates so far.
        """
        raise NotImplementedError


def penalised(module: nn.Module) -> list[Penalised]:
    """The layers of a module that add to the loss."""
    return [layer for layer in module.modules() if isinstance(layer, Penalised)]
