"""Principal components of equal variance."""

from __future__ import annotations

from torch import Tensor

from app.training.fits.fit_method import FITS, FitMethod, Spread, scaled_eigenvectors


@FITS.register("whitening")
class Whitening(FitMethod):
    """Principal components scaled to variance one: rows `λ^-½ v`.

    Keeps fewer neighbours than `pca` and often ranks pairs better.
    """

    def weight(self, spread: Spread, n_components: int) -> Tensor:
        """See `FitMethod.weight`."""
        return scaled_eigenvectors(spread, n_components, power=-0.5)


@FITS.register("half_whitening")
class HalfWhitening(FitMethod):
    """Principal components with half of their spread taken away: rows `λ^-¼ v`.

    Between `pca` and `whitening`: the choice for the task where no pairs are to be had.
    """

    def weight(self, spread: Spread, n_components: int) -> Tensor:
        """See `FitMethod.weight`."""
        return scaled_eigenvectors(spread, n_components, power=-0.25)
