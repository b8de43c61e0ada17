"""Initialisers by name; adding one is adding a class to a file of this package."""

from app.layers.initialisers.initialiser import (
    INITIALISERS,
    Initialiser,
    drawn,
    read_initialiser,
)
from app.registry import import_members

import_members(__name__, __path__)

__all__ = ["INITIALISERS", "Initialiser", "drawn", "read_initialiser"]
