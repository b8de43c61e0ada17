"""What a decoded request must be before it costs the device anything."""

from __future__ import annotations

from typing import NoReturn

import numpy as np

from app.config import ModelConfig
from app.errors import Conflict, Unacceptable
from app.types import Batch, FloatArray

_FLOAT16_MAX = float(np.finfo(np.float16).max)


def check_trainable(config: ModelConfig, model: str) -> None:
    """Refuse to train a model that is served and never trained.

    Raises:
        Conflict: `model_frozen`.
    """
    if config.frozen:
        raise Conflict(
            "model_frozen",
            f"model {model!r} is frozen: it is served and never trained; to go on learning, make "
            "another model from its weights",
        )


def check_width(hidden_states: FloatArray, input_size: int, model: str) -> None:
    """Refuse another width than the model's, and a batch without rows.

    Raises:
        Unacceptable: `shape_mismatch`, or `empty_batch` for no rows at all.
    """
    check_last_dimension(hidden_states, input_size, model)
    if hidden_states.size == 0:
        raise Unacceptable(
            "empty_batch", "expected at least one row, got none", pointer="/hidden_states"
        )


def check_last_dimension(hidden_states: FloatArray, input_size: int, model: str) -> None:
    """Refuse another width than the model's.

    Raises:
        Unacceptable: `shape_mismatch`.
    """
    width = hidden_states.shape[-1] if hidden_states.ndim else 0
    if width != input_size:
        raise Unacceptable(
            "shape_mismatch",
            f"expected width {input_size} for model {model!r}, got {width}; "
            f"send hidden_states of shape (…, {input_size})",
            pointer="/hidden_states",
        )


def refuse_non_finite(hidden_states: FloatArray, dtype: str) -> NoReturn:
    """Refuse what had a product that is not finite, and say whose fault it is.

    A NaN or infinity in the input always reaches the output of its row (zero times infinity is
    NaN), so a finite output proves a finite input; only a refusal pays for the closer look.

    Raises:
        Unacceptable: `non_finite_input`, `out_of_range` or `non_finite_output`.
    """
    check_finite("hidden_states", hidden_states)
    if dtype == "float16" and np.abs(hidden_states).max() > _FLOAT16_MAX:
        raise Unacceptable(
            "out_of_range",
            f"expected values within ±{_FLOAT16_MAX:.0f} (this server multiplies in float16), "
            "got a larger one",
            pointer="/hidden_states",
        )
    raise Unacceptable(
        "non_finite_output",
        "the values are finite, but their product with the weights overflows; scale them down",
        pointer="/hidden_states",
    )


def check_batch(batch: Batch, input_size: int, model: str) -> None:
    """Refuse a batch that no loss could use: width, rows, finite values.

    Raises:
        Unacceptable: the first fault found.
    """
    check_width(batch.hidden_states, input_size, model)
    check_finite("hidden_states", batch.hidden_states)
    if batch.targets is not None:
        check_finite("targets", batch.targets)
    if batch.sample_weights is not None:
        check_finite("sample_weights", batch.sample_weights)


def check_finite(field: str, array: FloatArray) -> None:
    """Refuse NaN and infinities, naming the first.

    Raises:
        Unacceptable: `non_finite_input` with the index of the first such value.
    """
    finite = np.isfinite(array)
    if finite.all():
        return
    index = np.unravel_index(int(np.argmin(finite)), array.shape)
    place = "/".join(str(int(i)) for i in index)
    raise Unacceptable(
        "non_finite_input",
        f"expected finite numbers, got NaN or infinity at {field}/{place} (the first one)",
        pointer=f"/{field}/{place}",
    )
