"""Optimizers by their torch names, with torch's own arguments and parameter groups."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, get_args, get_origin, get_type_hints

import torch
from torch import nn
from torch.optim import Optimizer

from app.config import MAX_LEARNING_RATE, OptimizerConfig, ParameterGroup
from app.errors import ConfigInvalid, pointer_token
from app.registry import Registry
from app.training.signum import Signum

OPTIMIZERS: Registry[type[Optimizer]] = Registry("optimizer")

# Not here: LBFGS, whose step calls the loss again (a closure), and SparseAdam, which takes sparse
# gradients only, and a linear layer makes dense ones.
for _member in (
    torch.optim.ASGD,
    torch.optim.Adadelta,
    torch.optim.Adafactor,
    torch.optim.Adagrad,
    torch.optim.Adam,
    torch.optim.AdamW,
    torch.optim.Adamax,
    torch.optim.Muon,
    torch.optim.NAdam,
    torch.optim.RAdam,
    torch.optim.RMSprop,
    torch.optim.Rprop,
    torch.optim.SGD,
    Signum,
):
    OPTIMIZERS.register(_member.__name__)(_member)

# params comes from the layer; the other two are for CUDA graphs and for differentiating through
# the step, which a step that must be undoable is not made for.
_REFUSED = frozenset({"params", "capturable", "differentiable", "return"})

# What stands between a module and the raw tensor of one of its parametrized parameters.
_PARAMETRIZED = re.compile(r"parametrizations\.(\w+)\.original\d*$")

Parameters: TypeAlias = Mapping[str, nn.Parameter]
Arguments: TypeAlias = dict[str, Any]


def build_optimizer(config: OptimizerConfig, module: nn.Module) -> Optimizer:
    """The optimizer that a config describes, over every trainable parameter of a module.

    A group takes the parameters whose plain name its pattern is found in and that no group before
    it took; it uses the optimizer's arguments where it has none of its own. Parameters of no group
    use the optimizer's arguments.

    Args:
        config: name, arguments by torch's own names, and groups.
        module: whose parameters are updated.

    Raises:
        ConfigInvalid: unknown name, argument, value or pattern; or torch refuses the combination.
    """
    member = OPTIMIZERS.choose(config.type, pointer="/optimizer/type")
    left = {plain_name(n): p for n, p in module.named_parameters() if p.requires_grad}
    _check_parameters(member, left)
    shared = _checked(member, config.arguments, pointer="/optimizer")
    whole = _construct(member, left, {}, shared, pointer="/optimizer")
    if not config.groups:
        return whole
    parts = []
    for index, group in enumerate(config.groups):
        pointer = f"/optimizer/groups/{index}"
        taken = _take(group, left, pointer=pointer)
        own = _checked(member, group.arguments, pointer=pointer)
        parts.append(_construct(member, taken, shared, own, pointer=pointer))
    if left:
        parts.append(_construct(member, left, {}, shared, pointer="/optimizer"))
    return _joined(parts)


def plain_name(name: str) -> str:
    """A parameter's name without what a parametrization adds to it.

    >>> plain_name("0.parametrizations.Q_reduced.original")
    '0.Q_reduced'
    """
    return _PARAMETRIZED.sub(r"\1", name)


def is_number(value: object) -> bool:
    """Whether a JSON value is a finite real number; a bool is none."""
    return isinstance(value, int | float) and type(value) is not bool and -1e308 < value < 1e308


def is_learning_rate(value: float) -> bool:
    """Whether training can survive it; torch itself accepts infinity, 1e30 and True."""
    return 0 < value <= MAX_LEARNING_RATE


def _check_parameters(member: type[Optimizer], parameters: Parameters) -> None:
    if not parameters:
        raise ConfigInvalid("none of the layers has anything to train", pointer="/layers")
    vectors = [name for name, parameter in parameters.items() if parameter.ndim != 2]
    if member is torch.optim.Muon and vectors:
        raise ConfigInvalid(
            f"Muon updates matrices only, and this model also trains {', '.join(vectors)}; "
            "leave the bias out or choose another optimizer",
            pointer="/optimizer/type",
        )


def _checked(member: type[Optimizer], arguments: Arguments, *, pointer: str) -> Arguments:
    """The arguments with JSON lists as tuples; refuses names and types that are not torch's."""
    hints = get_type_hints(member.__init__)
    allowed = {name: hint for name, hint in hints.items() if name not in _REFUSED}
    for name, value in arguments.items():
        at = f"{pointer}/{pointer_token(name)}"
        if name not in allowed:
            raise ConfigInvalid(
                f"{member.__name__} has no argument {name[:64]!r} here; "
                f"expected one of: {', '.join(sorted(allowed))}",
                pointer=at,
            )
        if not _fits(value, allowed[name]):
            raise ConfigInvalid(
                f"{member.__name__} expects {_in_words(allowed[name])} for {name}", pointer=at
            )
        if name == "lr" and not is_learning_rate(value):
            raise ConfigInvalid(
                f"expected a learning rate above 0 and of at most {MAX_LEARNING_RATE:g}",
                pointer=at,
            )
    return {n: tuple(v) if isinstance(v, list) else v for n, v in arguments.items()}


def _fits(value: object, hint: Any) -> bool:
    """Whether a JSON value is of a type hint; numbers must be finite, and a bool is no number."""
    if get_origin(hint) is tuple:
        parts = get_args(hint)
        return (
            isinstance(value, list | tuple)
            and len(value) == len(parts)
            and all(map(_fits, value, parts))
        )
    if get_args(hint):
        return any(_fits(value, choice) for choice in get_args(hint))
    if hint is float:
        return is_number(value)
    return type(value) is hint


def _in_words(hint: Any) -> str:
    if get_origin(hint) is tuple:
        return f"a list of {len(get_args(hint))} numbers"
    choices = get_args(hint) or (hint,)
    words = {float: "a finite number", int: "a whole number", bool: "true or false", str: "a name"}
    return " or ".join(word for type_, word in words.items() if type_ in choices)


def _take(group: ParameterGroup, left: dict[str, nn.Parameter], *, pointer: str) -> Parameters:
    """Move the parameters that the group's pattern is found in out of `left`."""
    at = f"{pointer}/match"
    try:
        pattern = re.compile(group.match)
    except (re.error, OverflowError, RecursionError):
        raise ConfigInvalid("expected a regular expression", pointer=at) from None
    names = [name for name in left if pattern.search(name)]
    if not names:
        raise ConfigInvalid(
            "expected a pattern that is found in a parameter's name; "
            f"the groups before it left: {', '.join(left) or 'none'}",
            pointer=at,
        )
    return {name: left.pop(name) for name in names}


def _construct(
    member: type[Optimizer],
    parameters: Parameters,
    shared: Arguments,
    own: Arguments,
    *,
    pointer: str,
) -> Optimizer:
    """Construct, or say which of its `own` arguments torch refuses."""
    values = list(parameters.values())
    try:
        return _tried(member, values, shared | own)
    except (ValueError, TypeError, RuntimeError):
        refused = [name for name in own if not _accepts(member, values, shared | {name: own[name]})]
    names = refused[:1] or list(own)
    raise ConfigInvalid(
        f"{member.__name__} refuses this value of {', '.join(names)}; "
        "its documentation gives the range",
        pointer="/".join([pointer, *refused[:1]]),
    )


def _accepts(
    member: type[Optimizer], parameters: Sequence[nn.Parameter], arguments: Arguments
) -> bool:
    try:
        _tried(member, parameters, arguments)
    except (ValueError, TypeError, RuntimeError):
        return False
    return True


def _tried(
    member: type[Optimizer], parameters: Sequence[nn.Parameter], arguments: Arguments
) -> Optimizer:
    """Construct, and step once elsewhere: torch sees some values in the first step only."""
    make: Any = member  # every class takes its own arguments, all checked before
    elsewhere = nn.Parameter(torch.zeros(2, 2))
    elsewhere.grad = torch.zeros_like(elsewhere)
    make([elsewhere], **arguments).step()
    optimizer: Optimizer = make(parameters, **arguments)
    return optimizer


def _joined(parts: Sequence[Optimizer]) -> Optimizer:
    """One optimizer of several over different parameters, each with its own arguments.

    Not `Optimizer([groups])`: torch checks a group's arguments nowhere, and Adagrad ignores a
    group's initial_accumulator_value.
    """
    first, *others = parts
    for other in others:
        first.add_param_group(other.param_groups[0])
        first.state.update(other.state)
    return first
