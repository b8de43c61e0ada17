"""Kinds of layers by torch's names; adding one is adding it to a file of this package."""

from app.layers.kind import KINDS
from app.registry import import_members

import_members(__name__, __path__)

__all__ = ["KINDS"]
