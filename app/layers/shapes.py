"""Shapes of one row: what goes into a model's layers, and what comes out."""

from __future__ import annotations

from app.config import ModelConfig
from app.layers.kind import Shape


def input_shape(config: ModelConfig) -> Shape:
    """The shape of one row of hidden_states: `(input_size,)`, unless the config says otherwise."""
    return config.input_shape or (config.input_size,)


def output_shape(config: ModelConfig) -> Shape:
    """The shape of one reduced row; its last entry is n_components.

    Raises:
        ConfigInvalid: the layers cannot be built.
    """
    return (config.layers[-1].arguments["n_components"],)


def fixed(shape: Shape) -> tuple[int, ...]:
    """A shape of known lengths; only rows of one shape can be kept side by side."""
    lengths = tuple(length for length in shape if length is not None)
    assert len(lengths) == len(shape), "rows of any length are not kept"
    return lengths
