"""Arguments of schedulers that each are right, held against each other and the optimizer."""

from __future__ import annotations

from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import CyclicLR, LRScheduler, OneCycleLR

from app.errors import ConfigInvalid
from app.training.torch_arguments import Arguments
from app.wording import offered

# One number, or one for each parameter group; torch looks at the length of some of them only.
_ONE_EACH = ("base_lr", "max_lr", "min_lr", "base_momentum", "max_momentum")


def check_with(
    member: type[LRScheduler], arguments: Arguments, optimizer: Optimizer, *, pointer: str
) -> None:
    """Refuse what torch would refuse, or stumble over, when it constructs the scheduler.

    Args:
        member: the scheduler.
        arguments: each of its kind and in its range.
        optimizer: whose rates it sets.
        pointer: where the scheduler stands in the config.

    Raises:
        ConfigInvalid: lists that are not of the number of parameter groups, a cycle without
            length, a momentum that the optimizer has not.
    """
    for name in _ONE_EACH:
        if name in arguments:
            _check_count(arguments[name], optimizer, pointer=f"{pointer}/{name}")
    if issubclass(member, OneCycleLR):
        _check_length(arguments, pointer=pointer)
    if issubclass(member, CyclicLR | OneCycleLR) and arguments.get("cycle_momentum", True):
        _check_momentum(optimizer, pointer=f"{pointer}/cycle_momentum")


def _check_count(value: Any, optimizer: Optimizer, *, pointer: str) -> None:
    groups = len(optimizer.param_groups)
    if isinstance(value, tuple) and len(value) != groups:
        raise ConfigInvalid(
            f"expected one number, or one for each of the {groups} parameter groups, got "
            f"{offered(value)}",
            pointer=pointer,
        )


def _check_length(arguments: Arguments, *, pointer: str) -> None:
    given = {name for name, value in arguments.items() if value is not None}
    if "total_steps" not in given and not {"epochs", "steps_per_epoch"} <= given:
        raise ConfigInvalid(
            "expected total_steps for OneCycleLR, an integer, or epochs and steps_per_epoch, got "
            "none of these; add them",
            pointer=f"{pointer}/total_steps",
        )


def _check_momentum(optimizer: Optimizer, *, pointer: str) -> None:
    if not optimizer.defaults.keys() & {"momentum", "betas"}:
        raise ConfigInvalid(
            f"expected false with {type(optimizer).__name__}, which has neither momentum nor "
            "betas, got true, the default",
            pointer=pointer,
        )
