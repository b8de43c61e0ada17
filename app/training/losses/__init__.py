"""Losses by name; adding one is adding a file to this package."""

from app.registry import import_members
from app.training.losses.loss import LOSSES, Loss, build_loss, check_batch

import_members(__name__, __path__)

__all__ = ["LOSSES", "Loss", "build_loss", "check_batch"]
