"""What a loss is, the registry of losses, and the check of a batch against one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from math import prod
from typing import ClassVar, Protocol

import numpy as np
from torch import Tensor, nn

from app.config import Component, ModelConfig
from app.errors import ConfigInvalid, TooLarge, Unacceptable, pointer_token
from app.layers import input_shape, output_shape
from app.registry import Registry
from app.training.batch import TensorBatch
from app.types import Batch, FloatArray

# A rows² matrix of float32 is then at most 64 MiB; a loss holds a few of them at once.
MAX_PAIRED_ROWS = 4096


class Loss(Protocol):
    """A scalar to minimise: a frozen dataclass whose fields are its JSON arguments.

    A member checks the values of its arguments in `__post_init__`.

    Attributes:
        needs: fields of the batch, beside hidden_states, without which it cannot be computed.
        accepts: fields that it uses when they are given.
        max_rows: of one batch, `MAX_PAIRED_ROWS` where every pair of rows is compared; None where
            memory grows with the rows, which every request's own limit bounds.
    """

    needs: ClassVar[frozenset[str]]
    accepts: ClassVar[frozenset[str]]
    max_rows: ClassVar[int | None]

    def __call__(self, batch: TensorBatch, reduced: Tensor, layer: nn.Module, /) -> Tensor:
        """The loss of `reduced = layer(batch.hidden_states)`.

        Shape: reduced (rows, n_components); returns a scalar.
        """
        ...


LOSSES: Registry[Callable[..., Loss]] = Registry("loss")


def build_loss(component: Component, *, pointer: str = "/loss") -> Loss:
    """The loss that a config or a request names.

    Args:
        component: `{"type": name, …arguments}`.
        pointer: where the component stands in the document, for messages.

    Raises:
        ConfigInvalid: unknown name or argument.
    """
    loss = LOSSES.choose(component.type, pointer=f"{pointer}/type")
    allowed = [field.name for field in fields(loss)]  # type: ignore[arg-type]  # a dataclass
    for name in component.arguments:
        if name not in allowed:
            raise ConfigInvalid(
                f"loss {component.type!r} has no argument {name[:64]!r}; "
                f"expected one of: {', '.join(allowed) or 'none'}",
                pointer=f"{pointer}/{pointer_token(name)}",
            )
    return loss(**component.arguments)


def check_batch(loss: Loss, batch: Batch, config: ModelConfig) -> None:
    """Refuse a batch whose fields or shapes are not those of the loss, before it costs memory.

    Shapes must match exactly: torch would broadcast targets of (8, 1) against (8,) and train on
    64 differences that nobody meant.

    Raises:
        Unacceptable: `missing_field`, `field_not_used`, `target_shape_mismatch` or
            `sample_weights_invalid`.
        TooLarge: `too_many_rows` for a loss that compares every pair.
    """
    leading = batch.hidden_states.shape[: batch.hidden_states.ndim - len(input_shape(config))]
    reduced = (*leading, *output_shape(config))
    _check_rows(loss, prod(leading))
    given = {"targets": batch.targets, "sample_weights": batch.sample_weights}
    for name, value in given.items():
        _check_presence(loss, name, is_given=value is not None)
    if batch.targets is not None and batch.targets.shape != reduced:
        raise Unacceptable(
            "target_shape_mismatch",
            f"expected targets of shape {_shape(reduced)}, "
            f"got {_shape(batch.targets.shape)}; send one target for each reduced vector",
            pointer="/targets",
        )
    if batch.sample_weights is not None:
        _check_weights(batch.sample_weights, leading)


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


def _check_weights(weights: FloatArray, leading: tuple[int, ...]) -> None:
    if weights.shape != leading:
        fault = f"got shape {_shape(weights.shape)}"
    elif not (weights >= 0).all():
        fault = "got a negative one"
    elif not weights.sum(dtype=np.float64) > 0:
        fault = "all of them are zero"
    else:
        return
    raise Unacceptable(
        "sample_weights_invalid",
        f"expected one weight of at least 0 for each row, of shape {_shape(leading)} and with a "
        f"positive sum; {fault}",
        pointer="/sample_weights",
    )


def _shape(shape: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, shape))}]"
