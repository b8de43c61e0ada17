"""Arguments of optimizers that each are right, held against each other."""

from __future__ import annotations

from torch.optim import SGD, Optimizer

from app.errors import ConfigInvalid
from app.training.torch_arguments import Arguments
from app.wording import offered


def check_together(member: type[Optimizer], arguments: Arguments, *, pointer: str) -> None:
    """Refuse arguments that are each right, and of which one rules out another.

    Raises:
        ConfigInvalid: with the pointer of the one that is left out most easily.
    """
    if arguments.get("fused") and arguments.get("foreach"):
        raise ConfigInvalid(
            f"expected fused or foreach of {member.__name__}, got true for both; leave one out",
            pointer=f"{pointer}/fused",
        )
    momentum, dampening = arguments.get("momentum", 0), arguments.get("dampening", 0)
    if member is SGD and arguments.get("nesterov") and (not momentum or dampening):
        raise ConfigInvalid(
            "expected momentum above 0 and dampening 0 with nesterov of SGD, got momentum "
            f"{offered(momentum)} and dampening {offered(dampening)}; change these, or leave "
            "nesterov out",
            pointer=f"{pointer}/nesterov",
        )
