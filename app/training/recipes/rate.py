"""The learning rate of the recipe `distil`: computed from the step, so that it needs no state."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

from torch.optim import Optimizer

from app.config import DistilConfig

_WARM_UP_STEPS = 10
_HORIZON = 200
_FLOOR = 0.25
_FAST = 3.0


def rate_factor(config: DistilConfig, step: int, *, narrowness: float) -> float:
    """By what the config's learning rate is multiplied at an optimizer step, the first one 0.

    `min(1, (t + 1) / 10) · (n max(1/4, 1 / √(1 + t / 200)) + (1 - n) / 4)`, with n the narrowness:
    a wide map begins with the small steps that others end with. Of the profile `fast`, 3
    stands in the place of the maximum, and 3/4 in that of the last quarter.
    """
    warm_up = min(1.0, (step + 1) / _WARM_UP_STEPS)
    if config.profile == "fast":
        return warm_up * _FAST * (narrowness + (1 - narrowness) * _FLOOR)
    falling = max(_FLOOR, 1 / math.sqrt(1 + step / _HORIZON))
    return warm_up * (narrowness * falling + (1 - narrowness) * _FLOOR)


@contextmanager
def scaled_rates(optimizer: Optimizer, factor: float) -> Iterator[None]:
    """Multiply the learning rate of every group, for one step.

    The rate itself stays the one of the config or of the last change, which a state keeps. A factor
    of 1 changes nothing and so puts nothing back: a declared schedule may move the rates meanwhile.
    """
    if factor == 1:
        yield
        return
    rates = [group["lr"] for group in optimizer.param_groups]
    for group in optimizer.param_groups:
        group["lr"] *= factor
    try:
        yield
    finally:
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
