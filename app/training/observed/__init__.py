"""What a model observes of its stream: moments, a reservoir, held-out vectors, drift."""

from app.training.observed.drift import Drift
from app.training.observed.held_out import HELD_OUT_EVERY, HeldOut
from app.training.observed.moments import Moments, OuterSum
from app.training.observed.observed import Observed, check_observable
from app.training.observed.reservoir import Reservoir
from app.training.observed.rows import Rows
from app.training.observed.state import ObservedState
from app.training.observed.unit_vectors import UnitVectors

__all__ = [
    "HELD_OUT_EVERY",
    "Drift",
    "HeldOut",
    "Moments",
    "Observed",
    "ObservedState",
    "OuterSum",
    "Reservoir",
    "Rows",
    "UnitVectors",
    "check_observable",
]
