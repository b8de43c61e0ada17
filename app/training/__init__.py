"""Training: how a model learns. Speaks tensors; owns no threads, no disk, no HTTP."""

from app.training.savepoint import Savepoint
from app.training.trainer import StepOutcome, Trainer

__all__ = ["Savepoint", "StepOutcome", "Trainer"]
