"""Shapes of one row: what goes into a model's layers, and what comes out."""

from __future__ import annotations

from functools import lru_cache

import torch

from app.config import Component, ModelConfig
from app.errors import ConfigInvalid
from app.layers.kind import KINDS, Declared, Shape
from app.layers.sequence import declare_sequence

_LONE = "QRReduction"


def input_shape(config: ModelConfig) -> Shape:
    """The shape of one row of hidden_states: `(input_size,)`, unless the config says otherwise."""
    return config.input_shape or (config.input_size,)


def output_shape(config: ModelConfig) -> Shape:
    """The shape of one reduced row; its last entry is n_components.

    Raises:
        ConfigInvalid: the layers cannot be built.
    """
    return declared_once(config).output


def branches(config: ModelConfig) -> tuple[str, ...]:
    """The names of the branches that a request may choose from; the first is the default.

    Raises:
        ConfigInvalid: the layers cannot be built.
    """
    return declared_once(config).branches


def warnings(config: ModelConfig) -> tuple[str, ...]:
    """What a config says that has no effect, each a sentence that begins with a JSON pointer.

    Raises:
        ConfigInvalid: the layers cannot be built.
    """
    return declared_once(config).warnings


def num_weights(config: ModelConfig) -> int:
    """How many numbers the tensors of all layers hold; none of them is made.

    Raises:
        ConfigInvalid: the layers cannot be built.
    """
    declared = declare_all(config)
    with torch.device("meta"):
        module = declared.make()
    return sum(tensor.numel() for tensor in module.state_dict().values())


def fixed(shape: Shape) -> tuple[int, ...]:
    """A shape of known lengths; only rows of one shape can be kept side by side."""
    lengths = tuple(length for length in shape if length is not None)
    assert len(lengths) == len(shape), "rows of any length are not kept"
    return lengths


def is_fixed(shape: Shape) -> bool:
    """Whether every length is known."""
    return None not in shape


def is_lone_reduction(config: ModelConfig) -> bool:
    """Whether the layers are one QRReduction, whose tensors have no index before their names."""
    return len(config.layers) == 1 and config.layers[0].type == _LONE


def declare_all(config: ModelConfig) -> Declared:
    """Check all layers, each against what the one before it gives, before anything is built.

    Raises:
        ConfigInvalid: with the JSON pointer of the first fault, from the root of the config.
    """
    return _declare(config.layers, config.input_size, config.input_shape)


def declared_once(config: ModelConfig) -> Declared:
    """The same for a config whose layers were checked before; every step and every request asks.

    Two configs that Python calls equal (1 and true, 2 and 2.0) have the same shapes, though only
    one of them may be built; so whatever must refuse asks `declare_all`.

    Raises:
        ConfigInvalid: the layers cannot be built.
    """
    return _declared_once(config.layers, config.input_size, config.input_shape)


def _declare(layers: tuple[Component, ...], input_size: int, input_shape: Shape) -> Declared:
    shape = input_shape or (input_size,)
    if shape[-1] not in (None, input_size):
        raise ConfigInvalid(
            f"expected input_shape to end with input_size, {input_size}, or with null, got "
            f"{shape[-1]}",
            pointer=f"/input_shape/{len(shape) - 1}",
        )
    if len(layers) > 1 or layers[0].type != _LONE:
        return declare_sequence(layers, shape, pointer="/layers")
    return KINDS[_LONE].declare(layers[0].arguments, shape, pointer="/layers/0")


# Not by the config: its hash walks through all of its parts, which is 3 % of a small train step.
_declared_once = lru_cache(maxsize=256)(_declare)
