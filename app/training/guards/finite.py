"""A step that would leave anything non-finite behind is refused.

Checks that look sufficient and are not: a finite loss with an overflowed gradient; finite weights
with an infinite second moment, after which Adam never moves again. So all four are looked at.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import chain

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from app.errors import StepRejected
from app.training.trees import leaves


def check_loss(loss: Tensor) -> float:
    """The loss as a number.

    Raises:
        StepRejected: `non_finite_loss`.
    """
    value = loss.item()
    if not math.isfinite(value):
        raise StepRejected(
            "the loss of this batch is not finite; check the batch for extreme values",
            reason="non_finite_loss",
        )
    return value


def check_gradients(layer: nn.Module) -> float:
    """The Euclidean norm of all gradients together, with the bits of torch's `get_total_norm`.

    A norm that overflows although every entry is finite is refused too: clipping by such a norm
    would turn every gradient into zero.

    Raises:
        StepRejected: `non_finite_gradient`.
    """
    gradients = (p.grad for p in layer.parameters() if p.grad is not None)
    norms = [torch.linalg.vector_norm(gradient) for gradient in gradients]
    norm = float(norms[0] if len(norms) == 1 else torch.linalg.vector_norm(torch.stack(norms)))
    if not math.isfinite(norm):
        raise StepRejected(
            "the gradient of this batch is not finite, or too large to have a norm; "
            "scale the batch down",
            reason="non_finite_gradient",
        )
    return norm


def check_weights(layer: nn.Module) -> None:
    """Refuse parameters or buffers that are not finite.

    Raises:
        StepRejected: `non_finite_weight`.
    """
    if not is_finite(chain(layer.parameters(), layer.buffers())):
        raise StepRejected(
            "this step would have made a weight that is not finite; "
            "scale the batch down or lower the learning rate",
            reason="non_finite_weight",
        )


def check_optimizer_state(optimizer: Optimizer) -> None:
    """Refuse moments and other numbers of the optimizer that are not finite.

    Raises:
        StepRejected: `non_finite_optimizer_state`.
    """
    entries = chain.from_iterable(entry.values() for entry in optimizer.state.values())
    kept = [leaf for value in entries for _, leaf in leaves(value, "")]
    numbers = (leaf for leaf in kept if isinstance(leaf, float))
    tensors = (leaf for leaf in kept if isinstance(leaf, Tensor))
    if not (all(map(math.isfinite, numbers)) and is_finite(tensors)):
        raise StepRejected(
            "this step would have made an optimizer moment that is not finite, after which no "
            "step moves the weights; scale the batch down",
            reason="non_finite_optimizer_state",
        )


def is_finite(tensors: Iterable[Tensor]) -> bool:
    """Whether every entry of every floating-point tensor is finite.

    A NaN or infinity never leaves a sum finite, so a finite sum says so in one pass (measured: a
    fifth of a mask's time). The mask decides only when the sum overflows.
    """
    looked_at = (t.detach() for t in tensors if t.is_floating_point())
    return all(math.isfinite(float(t.sum())) or bool(t.isfinite().all()) for t in looked_at)
