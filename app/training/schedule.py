"""The schedule of the learning rates: what a model's schedulers have come to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, TypeAlias

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from app.config import MAX_LEARNING_RATE, Component
from app.errors import ConfigInvalid, StepRejected
from app.training.numbers import is_like, is_scheduled_rate
from app.training.schedulers import build_schedulers
from app.training.stored import StoredArrays, incompatible
from app.types import Json
from app.wording import offered

# What torch's schedulers change as they go, and what a change of the base rate changes.
_MOVING = (
    "last_epoch",
    "_step_count",
    "T_cur",
    "T_i",
    "best",
    "num_bad_epochs",
    "cooldown_counter",
    "base_lrs",
    "max_lrs",
)
# Rates that torch keeps with the parameter group; all of them go with the base rate.
_BASE = "initial_lr"
_GROUP_RATES = ("lr", "max_lr", "min_lr")
# JSON has no infinity, which is what the best loss is before the first one.
_FAR = 1e300

ScheduleState: TypeAlias = tuple[Json, ...]


class Schedule:
    """Changes the learning rates after each step, as the config's schedulers say.

    A `Memory` of the learner. The rates themselves stand in the optimizer's parameter groups, and
    are saved and undone with them; this remembers how far each scheduler has come. Without
    schedulers it does nothing.

    Args:
        components: the schedulers, in the order in which they act.
        optimizer: whose rates they are; set to what the schedule begins with.

    Raises:
        ConfigInvalid: a scheduler that does not exist, or arguments that it does not take.
    """

    part: ClassVar[str] = "schedule"

    def __init__(self, components: Sequence[Component], optimizer: Optimizer) -> None:
        self._components = components
        self._optimizer = optimizer
        self._begin()

    @property
    def state(self) -> ScheduleState:
        """How far each scheduler has come."""
        return self._state

    @state.setter
    def state(self, state: ScheduleState) -> None:
        self._state = state
        for scheduler, moving in zip(self._schedulers, state, strict=True):
            _set_moving(scheduler, moving)

    def advance(self, loss: float) -> None:
        """Set the rates of the next step.

        Args:
            loss: of this step, for a scheduler that watches it.

        Raises:
            StepRejected: `learning_rate`: the schedule leads out of what training can survive.
        """
        if not self._schedulers:
            return
        try:
            for scheduler in self._schedulers:
                _step(scheduler, loss)
        except (ArithmeticError, ValueError):
            raise _led_astray() from None
        if not all(is_scheduled_rate(group["lr"]) for group in self._optimizer.param_groups):
            raise _led_astray()
        self._state = tuple(map(_moving, self._schedulers))

    def rebase(self, rates: Sequence[float]) -> None:
        """Set the base rate of each parameter group; the schedule goes on from where it is.

        Every rate of the schedule that goes with the base changes by the same factor, the present
        one among them. Without schedulers the base rate is the rate.

        Raises:
            ConfigInvalid: the schedule would lead to a rate out of range.
        """
        groups = self._optimizer.param_groups
        for index, (group, rate) in enumerate(zip(groups, rates, strict=True)):
            if not self._schedulers:
                group["lr"] = rate
                continue
            base = group[_BASE]
            for name in _GROUP_RATES:
                if name in group:
                    group[name] = rate * (group[name] / base)
            for rates_of_all in self._rates_of_schedulers():
                rates_of_all[index] = rate * (rates_of_all[index] / base)
            group[_BASE] = rate
        self._check_reach()
        self._state = tuple(map(_moving, self._schedulers))

    def tensors(self) -> Mapping[str, Tensor]:
        """See `Memory.tensors`; there are none."""
        return {}

    def digest(self) -> str:
        """See `Memory.digest`."""
        return ""

    def scalars(self) -> Json | None:
        """See `Memory.scalars`."""
        return {"schedulers": list(self._state)} if self._state else None

    def read(
        self,
        stored: StoredArrays,  # noqa: ARG002 - no arrays are a schedule's
        scalars: Json | None,
    ) -> ScheduleState:
        """See `Memory.read`."""
        if not is_like(scalars, self.scalars()):
            raise incompatible("another schedule of the learning rate than the config's")
        return tuple(scalars["schedulers"]) if scalars else ()

    def forget(self) -> None:
        """Begin again, from the base rates as they are now."""
        if self._schedulers:
            for group in self._optimizer.param_groups:
                group["lr"] = group[_BASE]
            self._begin()

    def _begin(self) -> None:
        self._schedulers = build_schedulers(self._components, self._optimizer)
        if self._schedulers:
            for group in self._optimizer.param_groups:
                group.setdefault(_BASE, group["lr"])
        self._state = tuple(map(_moving, self._schedulers))

    def _rates_of_schedulers(self) -> Iterator[list[float]]:
        for scheduler in self._schedulers:
            for part in (scheduler, *getattr(scheduler, "_schedulers", ())):
                yield from (vars(part)[n] for n in ("base_lrs", "max_lrs") if n in vars(part))

    def _check_reach(self) -> None:
        rates = [group.get("max_lr", group["lr"]) for group in self._optimizer.param_groups]
        rates += [rate for one_each in self._rates_of_schedulers() for rate in one_each]
        if not all(map(is_scheduled_rate, rates)):
            raise ConfigInvalid(
                "expected a learning rate whose schedule stays at or below "
                f"{MAX_LEARNING_RATE:g}, got one that leads to {offered(max(rates))}; send a lower "
                "one",
                pointer="/lr",
            )


def _step(scheduler: LRScheduler, loss: float) -> None:
    if isinstance(scheduler, ReduceLROnPlateau):
        scheduler.step(loss)
    else:
        scheduler.step()


def _moving(scheduler: LRScheduler) -> Json:
    """What a scheduler has come to, as JSON; its parts' too."""
    found: Json = {n: _copied(vars(scheduler)[n]) for n in _MOVING if n in vars(scheduler)}
    if hasattr(scheduler, "_schedulers"):
        found["schedulers"] = [_moving(part) for part in scheduler._schedulers]
    return found


def _set_moving(scheduler: LRScheduler, moving: Json) -> None:
    for name, value in moving.items():
        if name == "schedulers":
            for part, found in zip(scheduler._schedulers, value, strict=True):  # type: ignore[attr-defined]  # of SequentialLR
                _set_moving(part, found)
        else:
            setattr(scheduler, name, _copied(value))


def _copied(value: Any) -> Any:
    if isinstance(value, list):
        return list(value)
    return max(-_FAR, min(_FAR, value))


def _led_astray() -> StepRejected:
    return StepRejected(
        "the schedule of this model leads to a learning rate below 0 or above "
        f"{MAX_LEARNING_RATE:g} after this step; set a lower base rate",
        reason="learning_rate",
    )
