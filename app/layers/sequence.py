"""Layers one after another: how a list of them is declared, and the module that they make."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import pairwise

from torch import Tensor, nn

from app.config import Component, read_component
from app.errors import ConfigInvalid
from app.layers.beginning import declare_begun
from app.layers.kind import KINDS, NO_CONTEXT, Context, Declared, Direct, Shape
from app.layers.widths import size
from app.wording import offered

_MOST_LAYERS = 128
_MOST_NESTING = 8
LAYERS_WANTED = f"an array of 1 to {_MOST_LAYERS} layers"


class LayerSequence(nn.Sequential):
    """Each layer's output is the next one's input; tensors are named `<index>.<name>`.

    Args:
        layers: first to last.
        takes_context: which of them take `(rows, context)`.

    Shape: rows (rows, *input_shape) of the first layer; returns (rows, *output_shape) of the last.
    """

    def __init__(self, layers: Sequence[nn.Module], takes_context: Sequence[bool]) -> None:
        super().__init__(*layers)
        self._takes_context = tuple(takes_context)

    def forward(self, rows: Tensor, context: Context = NO_CONTEXT) -> Tensor:
        """The last layer's output."""
        for layer, takes_context in zip(self, self._takes_context, strict=True):
            rows = layer(rows, context) if takes_context else layer(rows)
        return rows


def declare_sequence(layers: object, shape: Shape, *, pointer: str) -> Declared:
    """Check layers one after another, each against what the one before it gives.

    Args:
        layers: a list of objects like `{"type": "Linear", "out_features": 8}`.
        shape: of one row that the first one gets.
        pointer: where the list stands in the config.

    Raises:
        ConfigInvalid: with the pointer of the first fault.
    """
    parts: list[Declared] = []
    warnings: list[str] = []
    for index, component in enumerate(_components(layers, pointer)):
        place = f"{pointer}/{index}"
        kind = KINDS.choose(component.type, pointer=f"{place}/type")
        part = declare_begun(kind, component.arguments, shape, pointer=place)
        warnings += part.warnings
        if parts and part.takes_ids:
            raise ConfigInvalid(
                f"expected {component.type} as the first layer, because it takes ids, got it "
                "behind another one",
                pointer=f"{place}/type",
            )
        if parts and parts[-1].adds_bias and part.centres:
            warnings.append(
                f"{pointer}/{index - 1}/bias: has no effect, because the next layer subtracts the "
                "mean over the batch; set it to false"
            )
        parts.append(part)
        shape = part.output
    (first, *others) = parts
    return Declared(
        make=partial(_make, parts),
        begin=partial(_begin, parts),
        output=shape,
        takes_context=True,
        widest=max(part.widest or size(part.output) for part in parts),
        multiply_adds=sum(part.multiply_adds for part in parts),
        direct=None if others or first.direct is None else partial(_direct, first.direct),
        adds_bias=parts[-1].adds_bias,
        centres=first.centres,
        uses_mask=any(part.uses_mask for part in parts),
        takes_ids=first.takes_ids,
        branches=common_branches(parts, pointer=pointer),
        warnings=tuple(warnings),
    )


def common_branches(parts: Sequence[Declared], *, pointer: str) -> tuple[str, ...]:
    """The names that a request may choose from; all layers with branches have the same ones.

    Raises:
        ConfigInvalid: they have not.
    """
    named = [part.branches for part in parts if part.branches]
    for first, other in pairwise(named):
        if other != first:
            raise ConfigInvalid(
                f"expected every ModuleDict of a model to have the branches {', '.join(first)}, in "
                f"this order, got {', '.join(other)}; a request names one branch for all of them",
                pointer=pointer,
            )
    return named[0] if named else ()


def _components(layers: object, pointer: str) -> Sequence[Component]:
    if not isinstance(layers, list | tuple) or not 1 <= len(layers) <= _MOST_LAYERS:
        raise ConfigInvalid(f"expected {LAYERS_WANTED}, got {offered(layers)}", pointer=pointer)
    if pointer.count("/layers") + pointer.count("/branches") > _MOST_NESTING:
        raise ConfigInvalid(
            f"expected layers within layers at most {_MOST_NESTING} deep, got more; flatten them",
            pointer=pointer,
        )
    return [_component(layer, f"{pointer}/{index}") for index, layer in enumerate(layers)]


def _component(layer: object, pointer: str) -> Component:
    if isinstance(layer, Component):
        return layer
    wanted = 'an object like {"type": "ReLU"} with the name of a layer'
    return read_component(layer, wanted=wanted, pointer=pointer)


def _make(parts: Sequence[Declared]) -> LayerSequence:
    return LayerSequence([part.make() for part in parts], [part.takes_context for part in parts])


def _direct(layer: Direct, tensors: Mapping[str, Tensor]) -> Callable[[Tensor], Tensor]:
    return layer({name.removeprefix("0."): tensor for name, tensor in tensors.items()})


def _begin(parts: Sequence[Declared], module: nn.Module) -> None:
    begin_each(parts, module.children())


def begin_each(parts: Sequence[Declared], modules: Iterable[nn.Module]) -> None:
    """Give modules that train what only they get."""
    for part, module in zip(parts, modules, strict=True):
        if part.begin is not None:
            part.begin(module)
