"""What is computed: the layers, where their weights start, what their weights keep."""

from app.layers.initialisers import INITIALISERS, Initialiser, drawn, read_initialiser
from app.layers.kind import NO_CONTEXT, Context, Declared, Kind, Shape
from app.layers.kinds import KINDS
from app.layers.orthonormal import orthonormality_error
from app.layers.parametrizations import (
    ORTHONORMALITY_TOLERANCE,
    PARAMETRIZATIONS,
    Parametrization,
    attach,
    read_parametrization,
    retract_,
)
from app.layers.penalty import Penalised, penalised
from app.layers.qr_reduction import QRReduction
from app.layers.randomness import draws
from app.layers.shapes import (
    branches,
    declare_all,
    declared_once,
    fixed,
    input_shape,
    is_fixed,
    is_lone_reduction,
    num_weights,
    output_shape,
    warnings,
)
from app.layers.stack import assign, build, folded, forward, plain, product

__all__ = [
    "INITIALISERS",
    "KINDS",
    "NO_CONTEXT",
    "ORTHONORMALITY_TOLERANCE",
    "PARAMETRIZATIONS",
    "Context",
    "Declared",
    "Initialiser",
    "Kind",
    "Parametrization",
    "Penalised",
    "QRReduction",
    "Shape",
    "assign",
    "attach",
    "branches",
    "build",
    "declare_all",
    "declared_once",
    "drawn",
    "draws",
    "fixed",
    "folded",
    "forward",
    "input_shape",
    "is_fixed",
    "is_lone_reduction",
    "num_weights",
    "orthonormality_error",
    "output_shape",
    "penalised",
    "plain",
    "product",
    "read_initialiser",
    "read_parametrization",
    "retract_",
    "warnings",
]
