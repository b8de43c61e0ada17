"""What a decoded request must be before it costs the device anything."""

from __future__ import annotations

from typing import NoReturn, TypeAlias

import numpy as np

from app.config import ModelConfig
from app.engine import Snapshot
from app.errors import Conflict, TooLarge, Unacceptable
from app.types import Batch, FloatArray, first_outside
from app.wording import offered

# Of one row; None: any length.
Shape: TypeAlias = tuple[int | None, ...]

# 256 MiB in float32.
_MOST_NUMBERS = 64 << 20
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


def check_rows(hidden_states: FloatArray, shape: Shape, model: str) -> None:
    """Refuse rows of another shape than the model's, and a batch without rows.

    Args:
        hidden_states: of a request.
        shape: of one row; None: any length.
        model: its name.

    Raises:
        Unacceptable: `shape_mismatch`, or `empty_batch` for no rows at all.
    """
    check_shape(hidden_states, shape, model)
    if hidden_states.size == 0:
        raise Unacceptable(
            "empty_batch", "expected at least one row, got none", pointer="/hidden_states"
        )


def check_shape(hidden_states: FloatArray, shape: Shape, model: str) -> None:
    """Refuse rows of another shape than the model's.

    Raises:
        Unacceptable: `shape_mismatch`.
    """
    if len(shape) > 1 or shape[0] is None:
        _check_dimensions(hidden_states, shape, model)
        return
    width = hidden_states.shape[-1] if hidden_states.ndim else 0
    if width != shape[0]:
        raise Unacceptable(
            "shape_mismatch",
            f"expected width {shape[0]} for model {model!r}, got {width}; "
            f"send hidden_states of shape (…, {shape[0]})",
            pointer="/hidden_states",
        )


def _check_dimensions(hidden_states: FloatArray, shape: Shape, model: str) -> None:
    """The same for rows that are no vectors."""
    got = hidden_states.shape[max(0, hidden_states.ndim - len(shape)) :]
    fits = len(got) == len(shape) and all(
        wanted in (None, length) for wanted, length in zip(shape, got, strict=True)
    )
    if not fits:
        wanted = ", ".join("any" if length is None else str(length) for length in shape)
        raise Unacceptable(
            "shape_mismatch",
            f"expected rows of shape ({wanted}) for model {model!r}, got "
            f"({', '.join(map(str, got))}); send hidden_states of shape (…, {wanted})",
            pointer="/hidden_states",
        )


def check_amount(hidden_states: FloatArray, form: Snapshot, model: str) -> None:
    """Refuse rows of which the layers would make far more than came.

    Raises:
        TooLarge: `too_many_rows`.
    """
    if form.widest <= form.a_row:
        return  # what is made is bounded by what came, and that by the server's settings
    most = _MOST_NUMBERS // form.widest
    if hidden_states.size // form.a_row > most:
        raise TooLarge(
            "too_many_rows",
            f"the layers of model {model!r} hold up to {form.widest} numbers for each row: "
            f"expected at most {most} rows (or as many tokens), got "
            f"{hidden_states.size // form.a_row}; send fewer at once",
            pointer="/hidden_states",
        )


def check_branch(branch: str | None, branches: tuple[str, ...], model: str) -> None:
    """Refuse a branch that the model does not have.

    Raises:
        Unacceptable: `unknown_branch`.
    """
    if branch is None or branch in branches:
        return
    wanted = f"one of: {', '.join(branches)}" if branches else "none: its layers have no branches"
    raise Unacceptable(
        "unknown_branch",
        f"expected a branch of model {model!r}, {wanted}; got {offered(branch)}",
        pointer="/branch",
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


def check_batch(batch: Batch, shape: Shape, model: str) -> None:
    """Refuse a batch that no loss could use: shape, rows, finite values.

    Raises:
        Unacceptable: the first fault found.
    """
    check_rows(batch.hidden_states, shape, model)
    for name, array in batch.arrays().items():
        check_finite(name, array)


def check_finite(field: str, array: FloatArray) -> None:
    """Refuse NaN and infinities, naming the first.

    Raises:
        Unacceptable: `non_finite_input` with the index of the first such value.
    """
    finite = np.isfinite(array)
    if finite.all():
        return
    place = first_outside(finite)
    raise Unacceptable(
        "non_finite_input",
        f"expected finite numbers, got NaN or infinity at {field}{place} (the first one)",
        pointer=f"/{field}{place}",
    )
