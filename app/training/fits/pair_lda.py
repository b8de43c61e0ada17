"""Directions that tell pairs apart and do not tell their two sides apart."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from app.training.eigenvectors import leading_eigenvectors
from app.training.fits.fit_method import FITS, FitMethod, Spread


@FITS.register("pair_lda")
class PairLda(FitMethod):
    """Linear discriminants of pairs: `argmax tr(Q C Qᵀ)` with `Q (W + r I) Qᵀ = I`.

    C is the second moment of all vectors, `W = E[(q - d)(q - d)ᵀ] / 4` that within pairs, and
    `r = regularization · tr(W) / width`. With `W + r I = L Lᵀ`, the rows are `uᵀ L⁻¹` for the
    leading eigenvectors u of `L⁻¹ C L⁻ᵀ`. More regularization keeps more neighbours: the limit is
    `pca`.
    """

    needs_pairs: ClassVar[bool] = True

    regularization: float = Field(default=1.0, ge=1e-6, le=1e6)

    def weight(self, spread: Spread, n_components: int) -> Tensor:
        """See `FitMethod.weight`."""
        assert spread.within is not None, "checked: there are pairs"
        width = len(spread.second)
        # Sides that are all equal leave nothing within: then any isotropic W is as good.
        smallest = 1e-6 * float(spread.second.trace()) or 1.0
        ridge = self.regularization * max(float(spread.within.trace()), smallest) / width
        within = spread.within + ridge * torch.eye(width, dtype=torch.float64)
        lower = torch.linalg.cholesky(within)
        half = torch.linalg.solve_triangular(lower, spread.second, upper=False)
        ratio = torch.linalg.solve_triangular(lower, half.mT.contiguous(), upper=False)
        _, vectors = leading_eigenvectors((ratio + ratio.mT) / 2, n_components)
        weight: Tensor = torch.linalg.solve_triangular(lower.mT, vectors.mT, upper=True)
        return weight.mT
