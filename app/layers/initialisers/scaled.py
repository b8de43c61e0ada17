"""Initialisers whose spread follows from the width, so that signals keep their size."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from app.layers.initialisers.initialiser import INITIALISERS, Initialiser

Gain = Annotated[float, Field(gt=0, le=1e6)]
Nonlinearity = Literal[
    "linear",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "sigmoid",
    "tanh",
    "relu",
    "leaky_relu",
    "selu",
]


class _Xavier(Initialiser):
    """By both fans."""

    dimensions: ClassVar[range] = range(2, 9)

    gain: Gain = 1.0


@INITIALISERS.register("xavier_uniform")
class XavierUniform(_Xavier):
    """Uniform on ±gain √(6 / (fan_in + fan_out)): `torch.nn.init.xavier_uniform_`."""

    def fill_(self, tensor: Tensor, generator: torch.Generator | None) -> None:
        """See `Initialiser.fill_`."""
        nn.init.xavier_uniform_(tensor, self.gain, generator=generator)


@INITIALISERS.register("xavier_normal")
class XavierNormal(_Xavier):
    """Normal with variance gain² 2 / (fan_in + fan_out): `torch.nn.init.xavier_normal_`."""

    def fill_(self, tensor: Tensor, generator: torch.Generator | None) -> None:
        """See `Initialiser.fill_`."""
        nn.init.xavier_normal_(tensor, self.gain, generator=generator)


class _Kaiming(Initialiser):
    """By one fan, for what follows the layer."""

    dimensions: ClassVar[range] = range(2, 9)

    a: Annotated[float, Field(ge=-1e6, le=1e6)] = 0.0
    mode: Literal["fan_in", "fan_out"] = "fan_in"
    nonlinearity: Nonlinearity = "leaky_relu"


@INITIALISERS.register("kaiming_uniform")
class KaimingUniform(_Kaiming):
    """Uniform on ±gain √(3 / fan): `torch.nn.init.kaiming_uniform_`."""

    def fill_(self, tensor: Tensor, generator: torch.Generator | None) -> None:
        """See `Initialiser.fill_`."""
        nn.init.kaiming_uniform_(tensor, self.a, self.mode, self.nonlinearity, generator=generator)


@INITIALISERS.register("kaiming_normal")
class KaimingNormal(_Kaiming):
    """Normal with variance gain² / fan: `torch.nn.init.kaiming_normal_`."""

    def fill_(self, tensor: Tensor, generator: torch.Generator | None) -> None:
        """See `Initialiser.fill_`."""
        nn.init.kaiming_normal_(tensor, self.a, self.mode, self.nonlinearity, generator=generator)
