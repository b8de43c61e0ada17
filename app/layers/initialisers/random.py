"""Initialisers that draw every entry by itself."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from app.errors import ConfigInvalid
from app.layers.initialisers.initialiser import INITIALISERS, Initialiser
from app.wording import offered

Bound = Annotated[float, Field(ge=-1e30, le=1e30)]
Spread = Annotated[float, Field(ge=0, le=1e30)]


class _Between(Initialiser):
    """Entries from `a` to `b`."""

    a: Bound
    b: Bound

    def check(self, shape: tuple[int, ...], *, pointer: str) -> None:
        """See `Initialiser.check`.

        Raises:
            ConfigInvalid: the range is empty.
        """
        super().check(shape, pointer=pointer)
        if self.a > self.b:
            raise ConfigInvalid(
                f"expected a of at most b ({self.b:g}), got {offered(self.a)}",
                pointer=f"{pointer}/a",
            )


@INITIALISERS.register("uniform")
class Uniform(_Between):
    """Uniform from `a` to `b`: `torch.nn.init.uniform_`."""

    a: Bound = 0.0
    b: Bound = 1.0

    def fill_(self, tensor: Tensor, generator: torch.Generator | None) -> None:
        """See `Initialiser.fill_`."""
        nn.init.uniform_(tensor, self.a, self.b, generator=generator)


@INITIALISERS.register("normal")
class Normal(Initialiser):
    """Normal with `mean` and `std`: `torch.nn.init.normal_`."""

    mean: Bound = 0.0
    std: Spread = 1.0

    def fill_(self, tensor: Tensor, generator: torch.Generator | None) -> None:
        """See `Initialiser.fill_`."""
        nn.init.normal_(tensor, self.mean, self.std, generator=generator)


@INITIALISERS.register("trunc_normal")
class TruncNormal(_Between):
    """Normal, but for what lies outside `a` to `b`: `torch.nn.init.trunc_normal_`."""

    mean: Bound = 0.0
    std: Annotated[float, Field(gt=0, le=1e30)] = 1.0
    a: Bound = -2.0
    b: Bound = 2.0

    def check(self, shape: tuple[int, ...], *, pointer: str) -> None:
        """See `Initialiser.check`.

        Raises:
            ConfigInvalid: the mean is so far outside that hardly a draw would be kept.
        """
        super().check(shape, pointer=pointer)
        reach = 2 * self.std
        if not self.a - reach <= self.mean <= self.b + reach:
            raise ConfigInvalid(
                f"expected a mean within 2 std of the range from a to b: {self.a - reach:g} to "
                f"{self.b + reach:g}, got {offered(self.mean)}",
                pointer=f"{pointer}/mean",
            )

    def fill_(self, tensor: Tensor, generator: torch.Generator | None) -> None:
        """See `Initialiser.fill_`."""
        nn.init.trunc_normal_(tensor, self.mean, self.std, self.a, self.b, generator=generator)


@INITIALISERS.register("sparse")
class Sparse(Initialiser):
    """Normal with `std`, but for the share `sparsity` of each column: `torch.nn.init.sparse_`."""

    dimensions: ClassVar[range] = range(2, 3)

    sparsity: Annotated[float, Field(ge=0, le=1)]
    std: Spread = 0.01

    def fill_(self, tensor: Tensor, generator: torch.Generator | None) -> None:
        """See `Initialiser.fill_`."""
        # Not torch's own: it draws which entries are zero from the global generator.
        nn.init.normal_(tensor, 0, self.std, generator=generator)
        rows, columns = tensor.shape
        num_zeros = -int(-self.sparsity * rows // 1)
        order = torch.rand(columns, rows, generator=generator, device=tensor.device).argsort(dim=1)
        tensor.mT.scatter_(1, order[:, :num_zeros], 0)
