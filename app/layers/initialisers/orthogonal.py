"""Orthonormal rows or columns to start with."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from app.layers.initialisers.initialiser import INITIALISERS, Initialiser
from app.layers.orthonormal import sign_fixed_qr


@INITIALISERS.register("orthogonal")
class Orthogonal(Initialiser):
    """`gain` times uniformly random orthonormal rows (columns, where the layer widens).

    The sign-fixed QR of a Gaussian matrix; without the sign fix the distribution depends on the
    LAPACK. More than two dimensions are flattened behind the first, as `torch.nn.init.orthogonal_`
    does. `max |Q Qᵀ - I|` is below 1e-6 at gain 1 (float32 rounding of the Householder products).
    """

    dimensions: ClassVar[range] = range(2, 9)

    gain: Annotated[float, Field(ge=-1e6, le=1e6)] = 1.0

    @torch.no_grad()
    def fill_(self, tensor: Tensor, generator: torch.Generator | None) -> None:
        """See `Initialiser.fill_`."""
        gaussian = nn.init.normal_(torch.empty_like(tensor), generator=generator)
        factor = sign_fixed_qr(gaussian.flatten(1))
        tensor.copy_(self.gain * factor.view_as(tensor))
