"""What the guards remember."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from app.training.guards.baseline import Baselines
from app.training.guards.canary import Canary


@dataclass(frozen=True, slots=True)
class GuardState:
    """What the guards remember; immutable, so that an undo is a reference.

    Attributes:
        baselines: by the name of the loss.
        canary: rows and their loss.
    """

    baselines: Mapping[str, Baselines] = field(default_factory=dict)
    canary: Canary = field(default_factory=Canary)
