"""Parametrizations by name: what a weight keeps while it is trained; one file each."""

from app.layers.parametrizations.orthonormal import ORTHONORMALITY_TOLERANCE
from app.layers.parametrizations.parametrization import (
    PARAMETRIZATIONS,
    Parametrization,
    assign_,
    attach,
    check_given,
    constraints_of,
    read_parametrization,
    retract_,
)
from app.registry import import_members

import_members(__name__, __path__)

__all__ = [
    "ORTHONORMALITY_TOLERANCE",
    "PARAMETRIZATIONS",
    "Parametrization",
    "assign_",
    "attach",
    "check_given",
    "constraints_of",
    "read_parametrization",
    "retract_",
]
