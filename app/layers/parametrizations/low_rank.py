"""A weight that is a product of two thin ones."""

from __future__ import annotations

from typing import Annotated, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization

from app.config import MAX_WIDTH
from app.errors import ConfigInvalid
from app.layers.parametrizations.parametrization import (
    PARAMETRIZATIONS,
    Parametrization,
    broken,
    chain_of,
    need_matrix,
)

TOLERANCE = 1e-5


@PARAMETRIZATIONS.register("low_rank")
class LowRank(Parametrization):
    """`W = A B` with `rank` columns in A: the weight never has a higher rank.

    Trained are A and B; serving multiplies with the folded W. The start is the best approximation
    of the initial weight: `A = U √S`, `B = √S Vᵀ` of its leading singular values.

    Shape: W (n, d), more dimensions flattened behind the first; A (n, rank), B (rank, d).
    """

    rank: Annotated[int, Field(ge=1, le=MAX_WIDTH)]

    def check(self, shape: tuple[int, ...], *, pointer: str) -> None:
        """See `Parametrization.check`.

        Raises:
            ConfigInvalid: no matrix, or a rank above its smaller side.
        """
        need_matrix(shape, "low_rank", pointer=pointer)
        most = min(shape[0], torch.Size(shape[1:]).numel())
        if self.rank > most:
            raise ConfigInvalid(
                f"expected a rank of at most {most}, the smaller side of the weight, "
                f"got {self.rank}",
                pointer=f"{pointer}/rank",
            )

    def attach(self, layer: nn.Module, name: str) -> None:
        """Put the two factors in the weight's place."""
        shape = layer.get_parameter(name).shape
        register_parametrization(layer, name, _Product(self.rank, shape))

    def assign_(self, layer: nn.Module, name: str, value: Tensor) -> None:
        """See `Parametrization.assign_`."""
        chain = chain_of(layer, name)
        factors = cast(_Product, chain[0]).right_inverse(value)
        for index, factor in enumerate(factors):
            chain.get_parameter(f"original{index}").copy_(factor)

    def check_given(self, layer: nn.Module, name: str, value: Tensor) -> None:
        """See `Parametrization.check_given`."""
        del layer  # the promise is about the value alone
        if not torch.isfinite(value).all():
            raise broken(f"a finite {name}", "NaN or infinity")
        singular = torch.linalg.svdvals(value.flatten(1).double())
        rest = float(singular[self.rank :].sum() / singular.sum().clamp_min(1e-300))
        if rest > TOLERANCE:
            promise = f"{name} of rank {self.rank} at most"
            raise broken(promise, f"the share {rest:.2g} of its singular values beyond")


class _Product(nn.Module):
    """Torch's side of it: two trained tensors make one weight."""

    def __init__(self, rank: int, shape: torch.Size) -> None:
        super().__init__()
        self._rank = rank
        self._shape = shape

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        """The weight."""
        return (left @ right).view(self._shape)

    @torch.no_grad()
    def right_inverse(self, value: Tensor) -> tuple[Tensor, Tensor]:
        """The two factors of the best approximation, in memory of their own."""
        left, singular, right = torch.linalg.svd(value.flatten(1).double(), full_matrices=False)
        root = singular[: self._rank].sqrt()
        factors = left[:, : self._rank] * root, root[:, None] * right[: self._rank]
        first, second = (factor.to(value.dtype).contiguous() for factor in factors)
        return first, second
