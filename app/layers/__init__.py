"""What is computed: the layers, where their weights start, what their weights keep."""

from app.layers.initialisers import INITIALISERS, Draw
from app.layers.kind import KINDS, Context, Declared, Kind, Shape
from app.layers.orthonormal import orthonormality_error
from app.layers.parametrizations import PARAMETRIZATIONS, Parametrization
from app.layers.qr_reduction import QRReduction
from app.layers.shapes import fixed, input_shape, output_shape
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
    "KINDS",
    "LAYERS",
    "ORTHONORMALITY_TOLERANCE",
    "PARAMETRIZATIONS",
    "Context",
    "Declared",
    "Draw",
    "Kind",
    "Parametrization",
    "QRReduction",
    "Shape",
    "assign",
    "build",
    "fixed",
    "folded",
    "input_shape",
    "orthonormality_error",
    "output_shape",
    "plain",
    "product",
    "retract_",
]
