"""Optimizers by their torch names, with torch's own arguments and parameter groups."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.optim import LBFGS, Optimizer

from app.allowed import Interval
from app.config import MAX_LEARNING_RATE, OptimizerConfig, ParameterGroup
from app.errors import ConfigInvalid
from app.registry import Registry
from app.training.optimizer_arguments import check_together
from app.training.patterns import compile_pattern
from app.training.signum import Signum
from app.training.torch_arguments import MAX_NUMBER, Arguments, Bounds, check_arguments
from app.wording import offered, some

OPTIMIZERS: Registry[type[Optimizer]] = Registry("optimizer")

# Not here: SparseAdam, which takes sparse gradients only, and every layer here makes dense ones.
for _member in (
    torch.optim.ASGD,
    torch.optim.Adadelta,
    torch.optim.Adafactor,
    torch.optim.Adagrad,
    torch.optim.Adam,
    torch.optim.AdamW,
    torch.optim.Adamax,
    LBFGS,
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
_REFUSED = frozenset({"params", "capturable", "differentiable"})
_NOT_NEGATIVE = Interval(0, MAX_NUMBER)
# What torch checks as it constructs or in the first step, said before it does; and for LBFGS how
# often a step may evaluate the loss, and how many pairs of vectors it keeps.
_BOUNDS: Bounds = {
    **dict.fromkeys(("eps", "weight_decay", "momentum", "momentum_decay"), _NOT_NEGATIVE),
    **dict.fromkeys(("lr_decay", "initial_accumulator_value"), _NOT_NEGATIVE),
    "lr": Interval(0, MAX_LEARNING_RATE, above=True),
    "betas": Interval(0, 1, below=True),
    "rho": Interval(0, 1),
    "beta2_decay": Interval(-MAX_NUMBER, 0),
    "d": Interval(1, MAX_NUMBER),
    "etas": (Interval(0, 1, above=True, below=True), Interval(1, MAX_NUMBER, above=True)),
    "ns_steps": Interval(0, 99),
    "adjust_lr_fn": ("original", "match_rms_adamw"),
    "line_search_fn": ("strong_wolfe",),
    "max_iter": Interval(1, 1000),
    "max_eval": Interval(1, 1250),
    "history_size": Interval(1, 1000),
}
# Where the same name is of another range.
_OWN_BOUNDS: Mapping[type[Optimizer], Bounds] = {
    torch.optim.RMSprop: {"alpha": _NOT_NEGATIVE},
    # What torch raises to a power: it overflows in a later step.
    torch.optim.ASGD: {"alpha": Interval(0, 10), "lambd": Interval(0, 1e6)},
    Signum: {"momentum": Interval(0, 1, below=True)},
}

# Of these torch refuses betas like [0, 0.999].
_FLOATS = dict.fromkeys((torch.optim.Adam, torch.optim.AdamW), ("betas",))

# What stands between a module and the raw tensor of one of its parametrized parameters.
_PARAMETRIZED = re.compile(r"parametrizations\.(\w+)\.original\d*$")

# By raw name: two originals of one parametrization have one plain name.
Parameters: TypeAlias = Mapping[str, nn.Parameter]


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
    left = {name: p for name, p in module.named_parameters() if p.requires_grad}
    _check_parameters(member, left)
    if member is LBFGS and config.groups:
        raise ConfigInvalid(
            "LBFGS looks at all parameters as one vector: expected no groups, got "
            f"{len(config.groups)}; leave them out",
            pointer="/optimizer/groups",
        )
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


def needs_closure(optimizer: Optimizer) -> bool:
    """Whether a step of it evaluates the loss more than once."""
    return isinstance(optimizer, LBFGS)


def _check_parameters(member: type[Optimizer], parameters: Parameters) -> None:
    if not parameters:
        raise ConfigInvalid(
            "expected a layer with weights to train, got none; add one, such as Linear",
            pointer="/layers",
        )
    others = [plain_name(name) for name, p in parameters.items() if p.ndim != 2]
    if member is torch.optim.Muon and others:
        raise ConfigInvalid(
            "Muon updates matrices only: expected a model of these alone, got one that also trains "
            f"{some(others, most=3)}; leave biases out, or choose another optimizer",
            pointer="/optimizer/type",
        )


def _checked(member: type[Optimizer], arguments: Arguments, *, pointer: str) -> Arguments:
    bounds = {**_BOUNDS, **_OWN_BOUNDS.get(member, {})}
    return check_arguments(
        member,
        arguments,
        pointer=pointer,
        without=_REFUSED,
        bounds=bounds,
        floats=_FLOATS.get(member, ()),
    )


def _take(group: ParameterGroup, left: dict[str, nn.Parameter], *, pointer: str) -> Parameters:
    """Move the parameters that the group's pattern is found in out of `left`."""
    at = f"{pointer}/match"
    pattern = compile_pattern(group.match, pointer=at)
    names = [name for name in left if pattern.search(plain_name(name))]
    if not names:
        raise ConfigInvalid(
            "expected a pattern that is found in the name of a parameter that the groups before it "
            f"left, one of: {some(map(plain_name, left))}; got {offered(group.match)}",
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
    check_together(member, shared | own, pointer=pointer)
    try:
        return _tried(member, values, shared | own)
    except (ValueError, TypeError, RuntimeError, ArithmeticError):
        refused = [name for name in own if not _accepts(member, values, shared | {name: own[name]})]
    names = refused[:1] or list(own)
    got = some(f"{name} {offered(own[name])}" for name in names)
    raise ConfigInvalid(
        f"expected arguments of {member.__name__} that go together, got {got}, which torch "
        "refuses; leave out what is not needed",
        pointer="/".join([pointer, *refused[:1]]),
    )


def _accepts(
    member: type[Optimizer], parameters: Sequence[nn.Parameter], arguments: Arguments
) -> bool:
    try:
        _tried(member, parameters, arguments)
    except (ValueError, TypeError, RuntimeError, ArithmeticError):
        return False
    return True


def _tried(
    member: type[Optimizer], parameters: Sequence[nn.Parameter], arguments: Arguments
) -> Optimizer:
    """Construct, and step once elsewhere: torch sees some values in the first step only."""
    make: Any = member  # every class takes its own arguments, all checked before
    elsewhere = nn.Parameter(torch.ones(2, 2))
    optimizer = make([elsewhere], **arguments)

    def evaluate() -> Tensor:
        elsewhere.grad = elsewhere.detach().clone()
        return elsewhere.detach().square().sum() / 2

    optimizer.step(evaluate)
    made: Optimizer = make(parameters, **arguments)
    return made


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
