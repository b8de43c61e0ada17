"""Fits by name: weights in closed form from one pass over data; one file each."""

from app.registry import import_members
from app.training.fits.accumulator import (
    Accumulator,
    check_fittable,
    is_normalized,
    observed_moments,
)
from app.training.fits.fit_method import FITS, FitMethod, Fitted, read_method, vectors_advised

import_members(__name__, __path__)

__all__ = [
    "FITS",
    "Accumulator",
    "FitMethod",
    "Fitted",
    "check_fittable",
    "is_normalized",
    "observed_moments",
    "read_method",
    "vectors_advised",
]
