"""What is computed: the layers, where their weights start, what their weights keep."""

from app.layers.initialisers import INITIALISERS, Draw
from app.layers.orthonormal import orthonormality_error
from app.layers.parametrizations import PARAMETRIZATIONS, Parametrization
from app.layers.qr_reduction import QRReduction
from app.layers.stack import (
    LAYERS,
    ORTHONORMALITY_TOLERANCE,
    assign,
    build,
    folded,
    plain,
    product,
    retract_,
)

__all__ = [
    "INITIALISERS",
    "LAYERS",
    "ORTHONORMALITY_TOLERANCE",
    "PARAMETRIZATIONS",
    "Draw",
    "Parametrization",
    "QRReduction",
    "assign",
    "build",
    "folded",
    "orthonormality_error",
    "plain",
    "product",
    "retract_",
]
