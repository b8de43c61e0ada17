"""Losses by name; adding one is adding a file to this package."""

from app.registry import import_members
from app.training.losses.check import check_batch, check_compared, check_like, check_loss
from app.training.losses.loss import LOSSES, Loss, build_loss, value_of

import_members(__name__, __path__)

__all__ = [
    "LOSSES",
    "Loss",
    "build_loss",
    "check_batch",
    "check_compared",
    "check_like",
    "check_loss",
    "value_of",
]
