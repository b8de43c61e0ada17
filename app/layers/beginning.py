"""How a layer of torch's begins: `init` and `parametrization` beside its own arguments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from app.errors import ConfigInvalid
from app.layers.initialisers import Initialiser, read_initialiser
from app.layers.kind import Declared, Kind, Shape
from app.layers.parametrizations import Parametrization, attach, read_parametrization

_INIT, _PARAMETRIZATION = "init", "parametrization"
_OWN = frozenset({_INIT, _PARAMETRIZATION})
_WEIGHT = "weight"


def declare_begun(
    kind: Kind, arguments: Mapping[str, Any], shape: Shape, *, pointer: str
) -> Declared:
    """A layer as its kind declares it, with the `init` and `parametrization` that a config gives.

    `init` fills every weight of the layer (its parameters of two or more dimensions);
    `parametrization` constrains the one called `weight`. Layers that begin in their own way, and
    those made of layers, are given both arguments as they are.

    Args:
        kind: checks the other arguments.
        arguments: every key beside `type`.
        shape: of one row.
        pointer: where the layer stands in the config.

    Raises:
        ConfigInvalid: as the kind, the initialiser or the parametrization refuse.
    """
    if not arguments.keys() & _OWN:
        return kind.declare(arguments, shape, pointer=pointer)
    others = {name: value for name, value in arguments.items() if name not in _OWN}
    part = kind.declare(others, shape, pointer=pointer)
    if part.begin is not None:
        return kind.declare(arguments, shape, pointer=pointer)
    with torch.device("meta"):
        module = part.make()
    init = _checked_init(module, arguments, pointer)
    constraint = _checked_constraint(module, arguments, pointer)
    return replace(part, begin=partial(_begin, init, constraint))


def _checked_init(
    module: nn.Module, arguments: Mapping[str, Any], pointer: str
) -> Initialiser | None:
    if _INIT not in arguments:
        return None
    place = f"{pointer}/{_INIT}"
    init = read_initialiser(arguments[_INIT], pointer=place)
    weights = _weights(module)
    if not weights:
        raise _nothing_to("start", place)
    for weight in weights:
        init.check(tuple(weight.shape), pointer=place)
    return init


def _checked_constraint(
    module: nn.Module, arguments: Mapping[str, Any], pointer: str
) -> Parametrization | None:
    if _PARAMETRIZATION not in arguments:
        return None
    place = f"{pointer}/{_PARAMETRIZATION}"
    constraint = read_parametrization(arguments[_PARAMETRIZATION], pointer=place)
    weight = dict(module.named_parameters(recurse=False)).get(_WEIGHT)
    if weight is None:
        raise _nothing_to("constrain", place)
    constraint.check(tuple(weight.shape), pointer=place)
    return constraint


@torch.no_grad()
def _begin(init: Initialiser | None, constraint: Parametrization | None, module: nn.Module) -> None:
    if init is not None:
        for weight in _weights(module):
            init.fill_(weight, None)  # drawn from the model's seed; see `Declared.make`
        _zero_padding_(module)
    if constraint is not None:
        attach(module, _WEIGHT, constraint)


def _weights(module: nn.Module) -> list[Tensor]:
    return [parameter for parameter in module.parameters() if parameter.ndim > 1]


def _zero_padding_(module: nn.Module) -> None:
    """The row of an embedding that stands for nothing stays zero, as torch starts it."""
    for layer in module.modules():
        if isinstance(layer, nn.Embedding | nn.EmbeddingBag) and layer.padding_idx is not None:
            layer.weight[layer.padding_idx].zero_()


def _nothing_to(verb: str, pointer: str) -> ConfigInvalid:
    return ConfigInvalid(
        f"expected a layer with a weight to {verb}, got one that has none of its own; leave this "
        "argument out",
        pointer=pointer,
    )
