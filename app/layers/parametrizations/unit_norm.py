"""Rows of length one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from app.layers.parametrizations.parametrization import (
    PARAMETRIZATIONS,
    Parametrization,
    broken,
    need_matrix,
)

TOLERANCE = 1e-5


@PARAMETRIZATIONS.register("unit_norm")
class UnitNorm(Parametrization):
    """Rows divided by their length after each accepted step; `max |‖w_i‖ - 1| ≤ 1e-6`.

    A row is everything behind the first dimension (one filter of a convolution). The weight stays
    a plain parameter, so serving and gradients cost nothing more. A row of zeros has no direction
    and stays zero; what is not finite stays so, for the trainer to see.
    """

    def check(self, shape: tuple[int, ...], *, pointer: str) -> None:
        """See `Parametrization.check`."""
        need_matrix(shape, "unit_norm", pointer=pointer)

    @torch.no_grad()
    def retract_(self, layer: nn.Module, name: str) -> None:
        """Divide each row by its length."""
        weight = layer.get_parameter(name)
        rows = weight.flatten(1)
        lengths = _lengths(rows)
        rows = torch.where(lengths == 0, rows, (rows.double() / lengths).to(rows.dtype))
        weight.copy_(rows.view_as(weight))

    def check_given(self, layer: nn.Module, name: str, value: Tensor) -> None:
        """See `Parametrization.check_given`."""
        del layer  # the promise is about the value alone
        error = float((_lengths(value.flatten(1)) - 1).abs().max())
        # Written so that a NaN is refused.
        if not error <= TOLERANCE:
            promise = f"rows of {name} of length 1, to {TOLERANCE:g}"
            raise broken(promise, f"an error of {error:.2g}")


def _lengths(rows: Tensor) -> Tensor:
    """In float64: squares of large or small float32 would overflow or vanish."""
    lengths: Tensor = rows.double().norm(dim=1, keepdim=True)
    return lengths
