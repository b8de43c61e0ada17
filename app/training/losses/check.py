"""The check of a batch against a loss, before it costs memory."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import TypeAlias

import numpy as np

from app.config import ModelConfig
from app.errors import ConfigInvalid, TooLarge, Unacceptable
from app.layers import fixed, input_shape, output_shape
from app.training.losses.loss import LOSSES, MAX_PAIRED_ROWS, Loss
from app.types import Batch, FloatArray, first_outside

# Labels travel as float32: whole numbers that are rounded on the way become this or more.
_MOST_LABELS = 2**24
_FIELDS = ("targets", "positives", "negatives", "labels", "sample_weights")

_Shape: TypeAlias = tuple[int, ...]


def check_batch(loss: Loss, batch: Batch, config: ModelConfig) -> None:
    """Refuse a batch whose fields or shapes are not those of the loss.

    Shapes must match exactly: torch would broadcast targets of (8, 1) against (8,) and train on
    64 differences that nobody meant.

    Raises:
        Unacceptable: `missing_field`, `field_not_used`, `target_shape_mismatch`,
            `shape_mismatch`, `labels_invalid` or `sample_weights_invalid`.
        ConfigInvalid: the loss is for wider reduced vectors.
        TooLarge: `too_many_rows` for a loss that compares every pair.
    """
    check_loss(loss, config)
    given = batch.arrays()
    leading = batch.hidden_states.shape[: batch.hidden_states.ndim - len(input_shape(config))]
    _check_rows(loss, prod(leading))
    for name in _FIELDS:
        _check_presence(loss, name, is_given=name in given)
    _check_targets(loss, given, leading, config)
    check_like(batch)
    if batch.labels is not None:
        (n_components,) = fixed(output_shape(config)[-1:])
        number = loss.num_labels(n_components) or _MOST_LABELS
        _check_labels(batch.labels, leading, number - 1)
    if batch.sample_weights is not None:
        _check_weights(batch.sample_weights, leading)


def check_loss(loss: Loss, config: ModelConfig, *, pointer: str = "/loss") -> None:
    """Refuse a loss that asks more of the reduced vectors than the model's have.

    Raises:
        ConfigInvalid: it looks at more components.
    """
    if not loss.num_components:
        return
    (n_components,) = fixed(output_shape(config)[-1:])
    if loss.num_components > n_components:
        raise ConfigInvalid(
            f"expected a loss of at most n_components ({n_components}) dimensions, got one of "
            f"{loss.num_components}",
            pointer=f"{pointer}{loss.components_at}",
        )


def check_compared(loss: Loss, rows: int, vectors: int) -> None:
    """Refuse more rows than a loss can compare with every vector of a reservoir.

    Args:
        loss: checked against the batch.
        rows: of the batch.
        vectors: that the reservoir holds when it is full, so that one size is always right.

    Raises:
        TooLarge: `too_many_rows`.
    """
    most = MAX_PAIRED_ROWS**2 // vectors
    if loss.uses_bank and rows > most:
        raise TooLarge(
            "too_many_rows",
            f"this loss compares every row with the {vectors} vectors of the model's reservoir: "
            f"expected at most {most} rows, got {rows}; send smaller batches, or make a model with "
            "a smaller observed.reservoir",
            pointer="/hidden_states",
        )


def check_like(batch: Batch) -> None:
    """Refuse positives and negatives of another shape than hidden_states.

    Raises:
        Unacceptable: `shape_mismatch`.
    """
    wanted, given = batch.hidden_states.shape, batch.arrays()
    for name in ("positives", "negatives"):
        if name in given and given[name].shape != wanted:
            raise Unacceptable(
                "shape_mismatch",
                f"expected {name} of the shape of hidden_states, {_shape(wanted)}, got "
                f"{_shape(given[name].shape)}; send one for each row",
                pointer=f"/{name}",
            )


def _check_rows(loss: Loss, rows: int) -> None:
    if loss.max_rows is None or rows <= loss.max_rows:
        return
    name = next(name for name, member in LOSSES.items() if member is type(loss))
    raise TooLarge(
        "too_many_rows",
        f"loss {name!r} compares every pair of rows: expected at most {loss.max_rows}, got {rows}; "
        "send smaller batches",
        pointer="/hidden_states",
    )


def _check_presence(loss: Loss, name: str, *, is_given: bool) -> None:
    if name in loss.needs and not is_given:
        raise Unacceptable(
            "missing_field", f"this loss needs {name}; send them with the batch", pointer=f"/{name}"
        )
    if is_given and name not in loss.needs | loss.accepts:
        raise Unacceptable(
            "field_not_used",
            f"this loss does not use {name}; leave them out or name a loss that does",
            pointer=f"/{name}",
        )


def _check_targets(
    loss: Loss, given: Mapping[str, FloatArray], leading: _Shape, config: ModelConfig
) -> None:
    if "targets" not in given:
        return
    shape, reduced = given["targets"].shape, output_shape(config)
    if loss.has_free_targets:
        is_right = len(shape) == len(leading) + 1 and shape[:-1] == leading
        wanted: tuple[int | None, ...] = (*leading, None)
    else:
        is_right = _matches(shape, wanted := (*leading, *reduced))
    if not is_right:
        raise Unacceptable(
            "target_shape_mismatch",
            f"expected targets of shape {_shape(wanted)}, got {_shape(shape)}; send one target for "
            "each reduced vector",
            pointer="/targets",
        )


def _matches(shape: _Shape, wanted: tuple[int | None, ...]) -> bool:
    return len(shape) == len(wanted) and all(
        length in (size, None) for size, length in zip(shape, wanted, strict=True)
    )


def _check_labels(labels: FloatArray, leading: _Shape, most: int) -> None:
    pointer = "/labels"
    if labels.shape != leading:
        fault = f"got shape {_shape(labels.shape)}"
    elif not (is_whole := labels == np.trunc(labels)).all():
        pointer += (place := first_outside(is_whole))
        fault = f"got a number that is not whole at labels{place}"
    elif not (is_within := (labels >= 0) & (labels <= most)).all():
        pointer += (place := first_outside(is_within))
        fault = f"got one out of these bounds at labels{place}"
    else:
        return
    raise Unacceptable(
        "labels_invalid",
        f"expected one label for each row, of shape {_shape(leading)}: whole numbers from 0 to "
        f"{most}; {fault}",
        pointer=pointer,
    )


def _check_weights(weights: FloatArray, leading: _Shape) -> None:
    pointer = "/sample_weights"
    if weights.shape != leading:
        fault = f"got shape {_shape(weights.shape)}"
    elif not (is_within := weights >= 0).all():
        pointer += (place := first_outside(is_within))
        fault = f"got a negative one at sample_weights{place}"
    elif not weights.sum(dtype=np.float64) > 0:
        fault = "all of them are zero"
    else:
        return
    raise Unacceptable(
        "sample_weights_invalid",
        f"expected one weight of at least 0 for each row, of shape {_shape(leading)} and with a "
        f"positive sum; {fault}",
        pointer=pointer,
    )


def _shape(shape: tuple[int | None, ...]) -> str:
    return f"[{', '.join('any' if length is None else str(length) for length in shape)}]"
