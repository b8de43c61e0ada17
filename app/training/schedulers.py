"""Schedulers of the learning rate by their torch names, with torch's own arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from torch.optim import Optimizer, lr_scheduler
from torch.optim.lr_scheduler import LRScheduler

from app.allowed import Interval
from app.config import MAX_LEARNING_RATE, Component, read_component
from app.errors import ConfigInvalid
from app.registry import Registry
from app.training.numbers import is_learning_rate
from app.training.scheduler_arguments import check_with
from app.training.torch_arguments import Bounds, check_arguments
from app.wording import offered, some

SCHEDULERS: Registry[type[LRScheduler]] = Registry("scheduler")

# Not here: LambdaLR and MultiplicativeLR, which take Python functions, and ChainedScheduler, which
# a list of schedulers already is.
for _member in (
    lr_scheduler.ConstantLR,
    lr_scheduler.CosineAnnealingLR,
    lr_scheduler.CosineAnnealingWarmRestarts,
    lr_scheduler.ExponentialLR,
    lr_scheduler.LinearLR,
    lr_scheduler.MultiStepLR,
    lr_scheduler.PolynomialLR,
    lr_scheduler.ReduceLROnPlateau,
    lr_scheduler.SequentialLR,
    lr_scheduler.StepLR,
):
    SCHEDULERS.register(_member.__name__)(_member)

# The optimizer and the start are the model's; functions are not for configs.
_REFUSED = frozenset({"optimizer", "last_epoch", "schedulers", "scale_fn", "scale_mode"})
# These set the rate themselves, whatever another one made of it.
_ALONE = frozenset({"CosineAnnealingWarmRestarts", "CyclicLR", "OneCycleLR", "SequentialLR"})
# And these cannot begin in the middle: torch refuses the third itself.
_NOT_IN_SEQUENCE = frozenset({"CyclicLR", "OneCycleLR", "ReduceLROnPlateau", "SequentialLR"})

_STEPS = Interval(1, 10**9)
_RATE = Interval(0, MAX_LEARNING_RATE)
_ONCE = Interval(0, 10**9)
# A momentum that was zero once would leave optimizers without the buffer that it needs later.
_MOMENTUM = Interval(1e-6, 1 - 1e-6)
_BOUNDS: Bounds = {
    **dict.fromkeys(("step_size", "milestones", "total_iters", "T_max", "T_0"), _STEPS),
    **dict.fromkeys(("step_size_up", "step_size_down", "total_steps"), _STEPS),
    **dict.fromkeys(("epochs", "steps_per_epoch"), Interval(1, 10**6)),
    **dict.fromkeys(("eta_min", "min_lr", "eps"), _RATE),
    **dict.fromkeys(("base_lr", "max_lr"), Interval(1e-12, MAX_LEARNING_RATE)),
    **dict.fromkeys(("base_momentum", "max_momentum"), _MOMENTUM),
    **dict.fromkeys(("factor", "start_factor"), Interval(1e-9, 1)),
    **dict.fromkeys(("div_factor", "final_div_factor"), Interval(1e-9, 1e9)),
    **dict.fromkeys(("patience", "cooldown", "threshold"), _ONCE),
    "T_mult": Interval(1, 1000),
    "gamma": Interval(1e-9, 1000),
    "end_factor": Interval(0, 1),
    "pct_start": Interval(0, 1),
    "power": Interval(0, 100),
}
# torch refuses 0 and 1 of it.
_FLOATS = ("pct_start",)
# Where the same name is of another range.
_OWN_BOUNDS: Mapping[str, Bounds] = {
    "ReduceLROnPlateau": {"factor": Interval(1e-9, 1, below=True)},
}


@SCHEDULERS.register("CyclicLR")
class CyclicLR(lr_scheduler.CyclicLR):
    """Goes up and down between two rates; torch's, also after a thousand halvings."""

    @staticmethod
    def _triangular2_scale_fn(x: float) -> float:
        # The same bits as torch's 1 / 2 ** (x - 1), which overflows in cycle 1025.
        return float(2.0 ** (1 - x))


@SCHEDULERS.register("OneCycleLR")
class OneCycleLR(lr_scheduler.OneCycleLR):
    """Up to a rate and down to almost nothing; torch's, staying there where that one raises."""

    def step(self, epoch: int | None = None) -> None:
        """Set the rates of the next step; the last of the cycle stay for ever."""
        if self.last_epoch < self.total_steps - 1:
            super().step(epoch)


def build_schedulers(components: Sequence[Component], optimizer: Optimizer) -> list[LRScheduler]:
    """The schedulers that a config lists, in the order in which they act.

    Args:
        components: each by torch's name, with its own arguments.
        optimizer: whose rates are set to what the schedule begins with.

    Raises:
        ConfigInvalid: with the JSON pointer of the first fault.
    """
    for index, component in enumerate(components):
        if component.type in _ALONE and len(components) > 1:
            raise ConfigInvalid(
                f"expected {component.type} alone, got {len(components)} schedulers: it sets the "
                "rate whatever the others do; SequentialLR lets one come after another",
                pointer=f"/scheduler/{index}/type",
            )
    return [
        _built(component, optimizer, pointer=f"/scheduler/{index}")
        for index, component in enumerate(components)
    ]


def _built(component: Component, optimizer: Optimizer, *, pointer: str) -> LRScheduler:
    member = SCHEDULERS.choose(component.type, pointer=f"{pointer}/type")
    given = component.arguments
    parts = given.pop("schedulers", None) if member is lr_scheduler.SequentialLR else None
    bounds = {**_BOUNDS, **_OWN_BOUNDS.get(component.type, {})}
    arguments = check_arguments(
        member, given, pointer=pointer, without=_REFUSED, bounds=bounds, floats=_FLOATS
    )
    if member is lr_scheduler.SequentialLR:
        built = _parts(parts, optimizer, pointer=f"{pointer}/schedulers")
        arguments["schedulers"] = built
        _check_milestones(arguments["milestones"], len(built), pointer=f"{pointer}/milestones")
    check_with(member, arguments, optimizer, pointer=pointer)
    return _constructed(member, optimizer, arguments, pointer=pointer)


def _constructed(
    member: Any, optimizer: Optimizer, arguments: dict[str, Any], *, pointer: str
) -> LRScheduler:
    try:
        scheduler: LRScheduler = member(optimizer, **arguments)
    except (ValueError, TypeError, ArithmeticError, RuntimeError):
        raise ConfigInvalid(
            f"expected arguments of {member.__name__} that go together, got "
            f"{some(f'{name} {offered(value)}' for name, value in arguments.items())}, which torch "
            f"refuses with {type(optimizer).__name__}; leave out what is not needed",
            pointer=pointer,
        ) from None
    rates = [group["lr"] for group in optimizer.param_groups]
    if not all(map(is_learning_rate, rates)):
        raise ConfigInvalid(
            f"expected a first learning rate above 0 and of at most {MAX_LEARNING_RATE:g}, got "
            f"{some(map(offered, rates))}",
            pointer=pointer,
        )
    return scheduler


def _parts(listed: object, optimizer: Optimizer, *, pointer: str) -> list[LRScheduler]:
    """The schedulers of a SequentialLR."""
    if not isinstance(listed, list) or not 1 <= len(listed) <= 8:
        got = "none; add them" if listed is None else offered(listed)
        raise ConfigInvalid(f"expected an array of 1 to 8 schedulers, got {got}", pointer=pointer)
    parts = []
    for index, document in enumerate(listed):
        at = f"{pointer}/{index}"
        component = read_component(
            document, wanted='a scheduler like {"type": "LinearLR"}', pointer=at
        )
        if component.type in _NOT_IN_SEQUENCE:
            raise ConfigInvalid(
                f"{component.type} cannot be a part of SequentialLR; "
                f"expected one of: {', '.join(n for n in SCHEDULERS if n not in _NOT_IN_SEQUENCE)}",
                pointer=f"{at}/type",
            )
        parts.append(_built(component, optimizer, pointer=at))
    return parts


def _check_milestones(milestones: Sequence[int], parts: int, *, pointer: str) -> None:
    if len(milestones) != parts - 1:
        raise ConfigInvalid(
            f"expected {parts - 1} milestones between {parts} schedulers, got "
            f"{offered(milestones)}",
            pointer=pointer,
        )
    for place, (one, following) in enumerate(pairwise(milestones), start=1):
        if following <= one:
            raise ConfigInvalid(
                f"expected milestones that rise, got {following} after {one}",
                pointer=f"{pointer}/{place}",
            )
