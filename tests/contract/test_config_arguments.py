"""Every argument of every registered thing, refused as it must be.

Nothing is listed by hand: the arguments are those that a member names when it is offered one that
does not exist. A refusal names the JSON pointer, the offered value and what is allowed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import pytest
import torch

from app.config import Component, OptimizerConfig, parse_arguments
from app.errors import ConfigInvalid
from app.layers.beginning import declare_begun
from app.layers.initialisers import INITIALISERS
from app.layers.kind import KINDS
from app.layers.parametrizations import PARAMETRIZATIONS
from app.training.fits import FITS
from app.training.losses import LOSSES, build_loss
from app.training.optimizers import OPTIMIZERS, build_optimizer
from app.training.schedulers import SCHEDULERS, build_schedulers
from app.wording import offered
from tests.checks.kinds import EXAMPLES
from tests.unit.training.test_declared_training import ARGUMENTS

Offer = Callable[[Mapping[str, Any]], object]


def _loss(name: str, arguments: Mapping[str, Any]) -> object:
    return build_loss(Component(type=name, **arguments), pointer="/at")


def _layer(name: str, arguments: Mapping[str, Any]) -> object:
    told = declare_begun(KINDS[name], arguments, EXAMPLES[name].shape, pointer="/at")
    return told.begin and told.begin(told.make())


def _optimizer(name: str, arguments: Mapping[str, Any]) -> object:
    config = OptimizerConfig(type=name, **arguments)
    return build_optimizer(config, torch.nn.Linear(3, 2, bias=False))


def _scheduler(name: str, arguments: Mapping[str, Any]) -> object:
    optimizer = torch.optim.SGD(torch.nn.Linear(3, 2).parameters(), lr=0.1, momentum=0.9)
    return build_schedulers([Component(type=name, **arguments)], optimizer)


def _typed(member: Any, arguments: Mapping[str, Any]) -> object:
    return parse_arguments(member, arguments, pointer="/at")


# Of each registry: where its members stand, what they must be told, and how they are declared.
_NEEDED: dict[str, dict[str, Any]] = {
    "parametrization low_rank": {"rank": 1},
    "initialiser sparse": {"sparsity": 0.5},
    "loss nested": {"loss": "mse", "dimensions": [1, 2]},
    "loss weighted": {"losses": ["mse", "cosine"]},
}
MEMBERS: dict[str, tuple[str, Mapping[str, Any], Offer]] = {
    **{
        f"layer {name}": ("/at", EXAMPLES[name].arguments, partial(_layer, name)) for name in KINDS
    },
    **{
        f"loss {name}": ("/at", _NEEDED.get(f"loss {name}", {}), partial(_loss, name))
        for name in LOSSES
    },
    **{
        f"optimizer {name}": ("/optimizer", {}, partial(_optimizer, name)) for name in OPTIMIZERS
    },
    **{
        f"scheduler {name}": ("/scheduler/0", ARGUMENTS[name], partial(_scheduler, name))
        for name in SCHEDULERS
    },
    **{
        (kind := f"{registry.kind} {name}"): ("/at", _NEEDED.get(kind, {}), partial(_typed, member))
        for registry in (INITIALISERS, PARAMETRIZATIONS, FITS)
        for name, member in registry.items()
    },
}  # fmt: skip
_PROBES: tuple[Any, ...] = (
    "wrong", {"wrong": 1}, ["wrong"], [], 7.25, True, None, -(10**15), 10**15, -1e300, 1e300,
    10**400, -1.5, 2.5, [-1e300, 1e300], [2.5, -1.5], [1e300] * 3,
)  # fmt: skip
# What an argument that is right alone is refused for is told by tests/unit/training.
_TOGETHER = {
    ("optimizer SGD", "nesterov"): "needs a momentum, and that is what came",
    ("scheduler OneCycleLR", "total_steps"): "null is right where epochs are given",
}
_KIND = re.compile(r"integer|number|true|false|array|object|string|name|null|'|none\b|-?\d")


def _names(pointer: str, needed: Mapping[str, Any], offer: Offer) -> list[str]:
    """What the member says that it may be told."""
    with pytest.raises(ConfigInvalid, match="expected one of: ") as refused:
        offer({**needed, "no_such": 1})
    assert refused.value.pointer == f"{pointer}/no_such"
    found = refused.value.detail.rpartition("expected one of: ")[2].split(", ")
    return [name for name in found if name != "none"]


def _refusals(
    needed: Mapping[str, Any], offer: Offer, name: str
) -> Iterator[tuple[object, ConfigInvalid]]:
    """Each value that is refused, with its refusal."""
    for value in _PROBES:
        try:
            offer({**needed, name: value})
        except ConfigInvalid as error:
            yield value, error


@pytest.mark.parametrize("member", MEMBERS)
def test_every_argument_names_its_pointer_what_came_and_what_is_allowed(member: str) -> None:
    pointer, needed, offer = MEMBERS[member]
    for name in _names(pointer, needed, offer):
        refused = list(_refusals(needed, offer, name))
        for value, error in refused:
            assert error.pointer.startswith(f"{pointer}/{name}"), (value, error.detail)
            if (member, name) not in _TOGETHER:
                _check_told(value, error.detail)
        values = [value for value, _ in refused]
        assert "wrong" in values or {"wrong": 1} in values, (name, values)
        if any(re.search("integer|number", error.detail) for _, error in refused):
            assert any(isinstance(v, int | float) and abs(v) > 1e12 for v in values), (name, values)


def _check_told(value: object, told: str) -> None:
    """Assert that a message gives what came, or the entry that is at fault, and what is allowed."""
    assert "torch refuses" not in told, "a range of torch's is not in our tables"
    entries = [*value.values()] if isinstance(value, dict) else value
    parts = [value, *(entries if isinstance(entries, list) else ())]
    if told.startswith("unknown ") and "; expected one of: " in told:
        got = told.partition(";")[0]
    else:
        wanted, _, got = told.rpartition(" got ")
        assert _KIND.search(wanted.partition("expected")[2]), told
    assert got == "none; add it" or any(offered(part) in got for part in parts), (value, told)
