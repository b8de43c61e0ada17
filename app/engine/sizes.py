"""Sizes: what a model may be at most, looked at before anything of that size is built."""

from __future__ import annotations

from app.config import ModelConfig
from app.errors import ConfigInvalid
from app.layers import declare_all, is_lone_reduction, num_weights
from app.layers.widths import size

# 256 MiB in float32, and three times that with Adam's moments.
_MAX_WEIGHTS = 64 << 20
# 64 MiB of one row within the layers.
_MAX_NUMBERS_A_ROW = 16 << 20


def check_sizes(config: ModelConfig, max_input_size: int) -> None:
    """Refuse what is too large for this service, or what no reducer is.

    Raises:
        ConfigInvalid: with the pointer of what is too large.
    """
    if config.input_size > max_input_size:
        raise ConfigInvalid(
            f"expected input_size of at most {max_input_size}, the setting max_input_size, "
            f"got {config.input_size}",
            pointer="/input_size",
        )
    if is_lone_reduction(config):
        _check_reduction(config)
    else:
        _check_stack(config)


def _check_reduction(config: ModelConfig) -> None:
    n_components = declare_all(config).output[-1]
    assert n_components is not None, "a matrix has rows"
    if n_components > config.input_size:
        raise ConfigInvalid(
            f"expected n_components of at most input_size ({config.input_size}), "
            f"got {n_components}; a reducer does not widen",
            pointer="/layers/0/n_components",
        )
    if n_components * config.input_size > _MAX_WEIGHTS:
        raise ConfigInvalid(
            f"expected at most {_MAX_WEIGHTS} weights, got {n_components} x {config.input_size}",
            pointer="/layers/0/n_components",
        )


def _check_stack(config: ModelConfig) -> None:
    declared = declare_all(config)
    if (weights := num_weights(config)) > _MAX_WEIGHTS:
        raise ConfigInvalid(
            f"expected at most {_MAX_WEIGHTS} weights in all layers, got {weights}",
            pointer="/layers",
        )
    widest = max(declared.widest, size(config.input_shape))
    if widest > _MAX_NUMBERS_A_ROW:
        raise ConfigInvalid(
            f"expected layers that hold at most {_MAX_NUMBERS_A_ROW} numbers of one row at once, "
            f"got {widest}",
            pointer="/layers",
        )
