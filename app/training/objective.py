"""What a step minimises: its loss, and what layers add to it."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn

from app.layers import Penalised, penalised
from app.training.batch import TensorBatch
from app.training.losses import Loss, value_of


def objective(loss: Loss, batch: TensorBatch, layer: nn.Module, *, step: int) -> Tensor:
    """The loss of one batch and the penalties of its layers; a scalar with gradients.

    Where no layer adds anything, the bits are those of the loss.

    Args:
        loss: checked against the batch.
        batch: on the layer's device.
        layer: in training mode.
        step: optimizer updates so far.
    """
    adding = penalised(layer)
    try:
        _forget(adding)
        value = value_of(loss, batch, layer)
        for part in adding:
            value = value + part.penalty(step)
        return value
    finally:
        _forget(adding)  # also where the loss was refused: a layer that is copied holds no graph


def _forget(layers: Iterable[Penalised]) -> None:
    for layer in layers:
        layer.forget()
