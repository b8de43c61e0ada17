"""Principal components."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from app.training.fits.fit_method import FITS, FitMethod, Spread, scaled_eigenvectors


@FITS.register("pca")
class Pca(FitMethod):
    """Leading eigenvectors of the uncentred second moment: exact PCA of a stream.

    `C = E[x xᵀ]`, uncentred, because subtracting the mean changes which vectors are neighbours by
    cosine. Row i is the eigenvector of the i-th largest eigenvalue, its largest entry positive;
    with fewer vectors than components the remaining rows complete an orthonormal system.
    """

    whiten: bool = Field(
        default=False, description="scale each component to the same variance, as `whitening`"
    )

    @property
    def is_other(self) -> bool:
        """See `FitMethod.is_other`."""
        return self.whiten or self.center

    def weight(self, spread: Spread, n_components: int) -> Tensor:
        """See `FitMethod.weight`."""
        return scaled_eigenvectors(spread, n_components, power=-0.5 if self.whiten else 0.0)
