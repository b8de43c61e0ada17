"""A loss at several prefixes of the reduced rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated

import torch
from pydantic import Field, PlainValidator, WithJsonSchema
from torch import Tensor

from app.config import parse_loss
from app.errors import ConfigInvalid
from app.training.batch import TensorBatch
from app.training.losses.loss import DECLARED, LOSSES, Loss, build_loss
from app.training.reducer import Reducer
from app.wording import offered


def _parse_loss(value: object) -> Loss:
    component = parse_loss(value, pointer="")
    loss = build_loss(component, pointer="")
    if loss.num_components:
        raise ConfigInvalid(
            f"expected a loss that is not nested itself, got {offered(component.type)}",
            pointer="/type",
        )
    return loss


# A JSON list, which `strict` would refuse for a tuple.
_LIST = Field(strict=False, min_length=1, max_length=64, fail_fast=True)


@LOSSES.register("nested")
@dataclass(frozen=True)
class Nested(Loss):
    """Matryoshka: the mean of a loss over prefixes, so that the first components are useful alone.

    `L = sum_m v_m · loss(z_1…m) / sum_m v_m`, with m over `dimensions` and v the `weights`, all 1
    by default. Positives and the reservoir's vectors are cut like z, and so are targets, unless
    the loss takes them of any width.

    Shape: as the loss says, of m components for n_components; returns a scalar.

    Source: sentence-transformers, losses/MatryoshkaLoss.py (there the sum instead of the mean).
    """

    loss: Annotated[Loss, PlainValidator(_parse_loss), WithJsonSchema(DECLARED)]
    dimensions: Annotated[tuple[Annotated[int, Field(ge=1)], ...], _LIST]
    weights: Annotated[tuple[Annotated[float, Field(gt=0, le=1e6)], ...], _LIST] | None = None

    def __post_init__(self) -> None:
        if len(set(self.dimensions)) < len(self.dimensions):
            again = next(m for m in self.dimensions if self.dimensions.count(m) > 1)
            raise ConfigInvalid(
                f"expected each of the dimensions once, got {again} twice", pointer="/dimensions"
            )
        if self.weights is not None and len(self.weights) != len(self.dimensions):
            raise ConfigInvalid(
                f"expected as many weights as dimensions ({len(self.dimensions)}), "
                f"got {len(self.weights)}",
                pointer="/weights",
            )

    @property
    def needs(self) -> frozenset[str]:
        """See `Loss.needs`."""
        return self.loss.needs

    @property
    def accepts(self) -> frozenset[str]:
        """See `Loss.accepts`."""
        return self.loss.accepts

    @property
    def max_rows(self) -> int | None:
        """See `Loss.max_rows`."""
        return self.loss.max_rows

    @property
    def uses_bank(self) -> bool:
        """See `Loss.uses_bank`."""
        return self.loss.uses_bank

    @property
    def has_free_targets(self) -> bool:
        """See `Loss.has_free_targets`."""
        return self.loss.has_free_targets

    @property
    def num_components(self) -> int:
        """See `Loss.num_components`."""
        return max(self.dimensions)

    @property
    def components_at(self) -> str:
        """See `Loss.components_at`."""
        return "/dimensions"

    def num_labels(self, n_components: int) -> int | None:
        """See `Loss.num_labels`."""
        return self.loss.num_labels(min(n_components, *self.dimensions))

    def __call__(self, batch: TensorBatch, reduced: Tensor, reducer: Reducer, /) -> Tensor:
        """`L` of one batch."""
        values = torch.stack(list(self._values(batch, reduced, reducer)))
        if self.weights is None:
            return values.mean()
        weights = values.new_tensor(self.weights)
        return (weights * values).sum() / weights.sum()

    def _values(self, batch: TensorBatch, reduced: Tensor, reducer: Reducer) -> Iterator[Tensor]:
        """The loss at each prefix."""
        for width in self.dimensions:
            cut = batch
            if batch.targets is not None and not self.loss.has_free_targets:
                cut = replace(batch, targets=batch.targets[..., :width])
            yield self.loss(cut, reduced[..., :width], replace(reducer, dimensions=width))
