"""What an initialiser is: where a tensor starts, by the names of `torch.nn.init`."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from app.config import Arguments
from app.errors import ConfigInvalid
from app.layers.declared import declared
from app.registry import Registry


class Initialiser(Arguments):
    """Fills a tensor; its fields are the arguments of torch's function of the same name.

    Attributes:
        dimensions: how many dimensions the tensor may have.
    """

    dimensions: ClassVar[range] = range(1, 9)

    def fill_(self, tensor: Tensor, generator: torch.Generator | None) -> None:
        """Fill the tensor in place; all randomness comes from the generator (torch's if None)."""
        raise NotImplementedError

    def check(self, shape: tuple[int, ...], *, pointer: str) -> None:
        """Refuse a tensor that cannot be filled, before it is made.

        Raises:
            ConfigInvalid: too few or too many dimensions.
        """
        if len(shape) not in self.dimensions:
            low, high = self.dimensions[0], self.dimensions[-1]
            wanted = str(low) if low == high else f"{low} to {high}"
            raise ConfigInvalid(
                f"this initialiser fills tensors of {wanted} dimensions, got {len(shape)}; choose "
                "another one",
                pointer=pointer,
            )


INITIALISERS: Registry[type[Initialiser]] = Registry("initialiser")


def read_initialiser(value: object, *, pointer: str) -> Initialiser:
    """The initialiser that a config declares; see `declared`."""
    return declared(INITIALISERS, value, pointer=pointer)


def drawn(
    init: Initialiser, shape: tuple[int, ...], generator: torch.Generator | None = None
) -> Tensor:
    """A new float32 tensor of that shape, on the generator's device.

    Shape: returns `shape`, contiguous, without gradients.
    """
    device: Any = "cpu" if generator is None else generator.device
    tensor = torch.empty(shape, device=device, dtype=torch.float32)
    init.fill_(tensor, generator)
    return tensor
