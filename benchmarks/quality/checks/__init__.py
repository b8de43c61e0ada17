"""Checks by name; adding one is adding a file to this package."""

from app.registry import import_members
from benchmarks.quality.target import CHECKS

import_members(__name__, __path__)

__all__ = ["CHECKS"]
