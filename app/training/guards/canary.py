"""The canary: some rows of the first steps, whose loss may not get worse ever after.

Each step of a patient attack is ordinary; only their sum is not. So the bound is anchored: it
follows the best loss down and never relaxes by itself.

# Note [Copies, not held-out rows]
The rows are copied out of the steps, which train on them as well. To hold them out would be a
stricter test, and another update than the one that was asked for: a `plain` model does exactly
what a plain PyTorch loop does.

# Note [The way back]
Steps between two looks may leave the loss above its bound. A step that then lowers it is accepted
although it is above the bound still: otherwise no step, however good, would ever be again. That is
enough without momentum (measured); a momentum that points the wrong way outlives every refused
step, and needs a rollback.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from app.config import CanaryConfig
from app.errors import StepRejected
from app.training.batch import TensorBatch
from app.training.losses import Loss, value_of

# No step gives more than this part of the rows, so that they show several steps' data.
_FEWEST_STEPS = 8


class Anchor(BaseModel):
    """What the canary's loss was.

    Attributes:
        first: when its rows were complete, or the highest mean loss of the steps until then,
            whichever was worse: Adam may overshoot its first minimum a hundredfold (measured on one
            batch, sent again and again), and what was ordinary minutes ago is no attack.
        best: the lowest since.
        age: accepted steps since the last look.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    first: float
    best: float
    age: int = Field(default=0, ge=0)


@dataclass(frozen=True, slots=True)
class Canary:
    """The rows and what their loss was; immutable, so that an undo is a reference.

    Attributes:
        rows: None before the first step.
        anchor: None until the rows are complete.
    """

    rows: TensorBatch | None = None
    anchor: Anchor | None = None


class CanaryWatch:
    """Collects a canary's rows, then looks at their loss now and then.

    Args:
        config: how many rows, how often, how much worse.
        warm_up: how many steps the rows come from, as nearly as may be: the first steps of an
            optimizer often make the loss worse, and the rows are to be anchored after them.
        loss: the one that the model's config names.
    """

    def __init__(self, config: CanaryConfig, *, warm_up: int, loss: Loss) -> None:
        self._config = config
        self._rows_a_step = math.ceil(config.rows / max(warm_up, _FEWEST_STEPS))
        self._loss = loss

    def loss_before(self, canary: Canary, layer: nn.Module) -> float | None:
        """The rows' loss, when the coming step is to be judged by it; see Note [The way back]."""
        if canary.rows is None or canary.anchor is None or not self._is_due(canary.anchor):
            return None
        return self._loss_of(canary.rows, layer)

    def following(
        self,
        canary: Canary,
        layer: nn.Module,
        *,
        before: float | None,
        batch: TensorBatch | None,
        peak: float,
    ) -> Canary:
        """The canary after a step that every other guard has accepted.

        Args:
            canary: as it was before the step.
            layer: as the step made it.
            before: what `loss_before` said.
            batch: of the step, when it used the watched loss.
            peak: the highest mean that the step's loss had so far.

        Raises:
            StepRejected: `canary`.
        """
        if canary.rows is None or canary.anchor is None:
            return canary if batch is None else self._filled(canary, batch, layer, peak)
        if before is None:
            return replace(
                canary, anchor=canary.anchor.model_copy(update={"age": canary.anchor.age + 1})
            )
        value = self._loss_of(canary.rows, layer)
        return replace(canary, anchor=self._judged(canary.anchor, before, value))

    def _is_due(self, anchor: Anchor) -> bool:
        return anchor.age + 1 >= self._config.every

    def _judged(self, anchor: Anchor, before: float, value: float) -> Anchor:
        bound = anchor.best + self._config.tolerance * anchor.first
        if value <= bound:
            return Anchor(first=anchor.first, best=min(anchor.best, value))
        if value < before:
            return anchor  # the age stays too: the next step is judged again
        raise StepRejected(
            f"expected a loss of at most {bound:.3g} on rows that were kept from the first steps, "
            f"got {value:.3g} after this one; roll back to a version before the loss rose, or, if "
            "the model is to forget its first data, import its weights as a new version",
            reason="canary",
        )

    def _filled(self, canary: Canary, batch: TensorBatch, layer: nn.Module, peak: float) -> Canary:
        """The canary with some rows of a batch; anchored when these are the last."""
        wanted = self._config.rows
        # Another branch has another loss, which the rows together could not have.
        if not wanted or batch.branch is not None:
            return canary
        held = canary.rows.rows if canary.rows else 0
        taken = _some_rows(batch, min(self._rows_a_step, wanted - held), self._loss)
        if canary.rows is not None and _form(canary.rows) != _form(taken):
            return canary  # rows of another length, or a teacher of another width
        rows = taken if canary.rows is None else _joined(canary.rows, taken)
        if rows.rows < wanted:
            return Canary(rows)
        first = self._loss_of(rows, layer)
        # Rows that have no finite loss together cannot judge anything: others take their place.
        if not math.isfinite(first):
            return Canary()
        return Canary(rows, Anchor(first=max(abs(first), peak), best=first))

    def _loss_of(self, rows: TensorBatch, layer: nn.Module) -> float:
        with torch.no_grad(), _evaluating(layer):
            return value_of(self._loss, rows, layer).item()


@contextmanager
def _evaluating(layer: nn.Module) -> Iterator[None]:
    """A look draws no random numbers and updates no running statistics."""
    layer.eval()
    try:
        yield
    finally:
        layer.train()


def kept_fields(loss: Loss) -> frozenset[str]:
    """The fields of a batch that a canary keeps: without them its loss could not be computed.

    What a loss only accepts is in some batches and not in others, and is left out.
    """
    return frozenset({"hidden_states"}) | loss.needs | (loss.accepts & {"sample_weights"})


def _some_rows(batch: TensorBatch, count: int, loss: Loss) -> TensorBatch:
    """Copies of evenly spaced rows that have a weight, with a weight each if the loss takes it."""
    weights = batch.sample_weights
    if weights is None and "sample_weights" in loss.accepts:
        weights = batch.hidden_states.new_ones(batch.rows)
    candidates = torch.arange(batch.rows, device=batch.hidden_states.device)
    if weights is not None:
        candidates = candidates[weights > 0]
    count = min(count, len(candidates))
    chosen = candidates[torch.arange(count, device=candidates.device) * len(candidates) // count]
    whole = replace(batch, sample_weights=weights).tensors()
    names = kept_fields(loss) | (whole.keys() & {"mask"})
    some: dict[str, Any] = {name: whole[name][chosen] for name in names}
    return TensorBatch(**some)


def _joined(first: TensorBatch, second: TensorBatch) -> TensorBatch:
    rows, more = first.tensors(), second.tensors()
    joined: dict[str, Any] = {name: torch.cat([rows[name], more[name]]) for name in rows}
    return TensorBatch(**joined)


def _form(rows: TensorBatch) -> dict[str, torch.Size]:
    """Which fields there are, and what shape each has for one row."""
    return {name: tensor.shape[1:] for name, tensor in rows.tensors().items()}
