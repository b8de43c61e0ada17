"""Initialisers without chance."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from app.errors import ConfigInvalid
from app.layers.initialisers.initialiser import INITIALISERS, Initialiser


class _Fixed(Initialiser):
    """Draws nothing."""

    def fill_(self, tensor: Tensor, generator: torch.Generator | None) -> None:
        """See `Initialiser.fill_`."""
        del generator
        self._set_(tensor)

    def _set_(self, tensor: Tensor) -> None:
        raise NotImplementedError


@INITIALISERS.register("constant")
class Constant(_Fixed):
    """Every entry is `val`: `torch.nn.init.constant_`."""

    val: Annotated[float, Field(ge=-1e30, le=1e30)]

    def _set_(self, tensor: Tensor) -> None:
        nn.init.constant_(tensor, self.val)


@INITIALISERS.register("ones")
class Ones(_Fixed):
    """Every entry is 1: `torch.nn.init.ones_`."""

    def _set_(self, tensor: Tensor) -> None:
        nn.init.ones_(tensor)


@INITIALISERS.register("zeros")
class Zeros(_Fixed):
    """Every entry is 0: `torch.nn.init.zeros_`."""

    def _set_(self, tensor: Tensor) -> None:
        nn.init.zeros_(tensor)


@INITIALISERS.register("eye")
class Eye(_Fixed):
    """The identity, cut or filled up with zeros to the shape: `torch.nn.init.eye_`."""

    dimensions: ClassVar[range] = range(2, 3)

    def _set_(self, tensor: Tensor) -> None:
        nn.init.eye_(tensor)


@INITIALISERS.register("dirac")
class Dirac(_Fixed):
    """The convolution that changes nothing, in each of `groups`: `torch.nn.init.dirac_`."""

    dimensions: ClassVar[range] = range(3, 6)

    groups: Annotated[int, Field(ge=1)] = 1

    def _set_(self, tensor: Tensor) -> None:
        nn.init.dirac_(tensor, self.groups)

    def check(self, shape: tuple[int, ...], *, pointer: str) -> None:
        """See `Initialiser.check`.

        Raises:
            ConfigInvalid: the outputs are not so many groups.
        """
        super().check(shape, pointer=pointer)
        if shape[0] % self.groups:
            raise ConfigInvalid(
                f"expected groups to divide the {shape[0]} outputs, got {self.groups}",
                pointer=f"{pointer}/groups",
            )
