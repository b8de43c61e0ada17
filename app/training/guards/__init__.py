"""Guards: which steps are refused, and why.

A step that could be computed may still be one that nobody wants: not finite (`finite`), far out of
the ordinary (`baseline`), or bad for what was learned before (`canary`). `Guards` asks all of them.
"""

from app.training.guards.baseline import Baseline, Baselines
from app.training.guards.canary import Anchor, Canary
from app.training.guards.finite import is_finite
from app.training.guards.guards import Guards
from app.training.guards.state import GuardState

__all__ = ["Anchor", "Baseline", "Baselines", "Canary", "GuardState", "Guards", "is_finite"]
