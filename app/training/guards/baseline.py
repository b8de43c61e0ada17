"""Baselines: what a loss and its gradient's norm ordinarily are, learned from accepted steps."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field

from app.errors import StepRejected

# How many steps the running mean looks back.
_HORIZON = 64
# A mean that fell by more than this is not believed: a loss that has become small for one kind of
# data must not make every other kind a spike.
_MOST_BELIEVED_FALL = 10.0
# Below this a value is what float32 rounding leaves of a zero: it says nothing about the data.
_ROUNDING = 1e-7


class Baseline(BaseModel):
    """A running mean of accepted values, and the highest that this mean ever was.

    Attributes:
        count: values so far.
        mean: of all of them at first, later an exponential one over about `_HORIZON`.
        peak: the highest mean.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    count: int = Field(default=0, ge=0)
    mean: float = Field(default=0.0, ge=0)
    peak: float = Field(default=0.0, ge=0)

    def following(self, value: float) -> Self:
        """The baseline after one more accepted value.

        >>> Baseline().following(2.0).following(4.0)
        Baseline(count=2, mean=3.0, peak=3.0)
        """
        if value < _ROUNDING:
            return self
        count = self.count + 1
        mean = self.mean + (value - self.mean) / min(count, _HORIZON)
        return type(self)(count=count, mean=mean, peak=max(self.peak, mean))

    def bound(self, factor: float) -> float:
        """`factor · max(mean, peak / 10)`: what lies above it is out of the ordinary."""
        return factor * max(self.mean, self.peak / _MOST_BELIEVED_FALL)


class Baselines(BaseModel):
    """What is ordinary for one loss: values of two losses are not on one scale."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    loss: Baseline = Baseline()
    grad_norm: Baseline = Baseline()


def check_ordinary(
    value: float, baseline: Baseline, *, factor: float, warm_up: int, reason: str, what: str
) -> None:
    """Refuse a value far above its baseline; a factor of 0 refuses nothing.

    Raises:
        StepRejected: with that reason.
    """
    if factor == 0 or baseline.count < warm_up:
        return
    bound = baseline.bound(factor)
    if value > bound:
        raise StepRejected(
            f"expected {what} of at most {bound:.3g} ({factor:g} times what is usual for this "
            f"model), got {value:.3g}; look at this batch for extreme rows, or scale it down",
            reason=reason,
        )
