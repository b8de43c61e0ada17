"""Several losses at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import torch
from pydantic import PlainValidator, WithJsonSchema
from torch import Tensor

from app.allowed import Interval
from app.config import parse_loss
from app.errors import ConfigInvalid
from app.training.batch import TensorBatch
from app.training.losses.loss import DECLARED, LOSSES, Loss, build_loss
from app.training.reducer import Reducer
from app.types import Json
from app.wording import offered

_MOST = 16
_WEIGHTS = Interval(0, 1_000_000, above=True)
_PARTS: Json = {"type": "array", "minItems": 1, "maxItems": _MOST, "items": DECLARED}


@dataclass(frozen=True, slots=True)
class Part:
    """One of the losses, and what it counts."""

    weight: float
    loss: Loss


def _parse(value: object) -> tuple[Part, ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= _MOST:
        raise ConfigInvalid(
            f"expected an array of 1 to {_MOST} losses, got {offered(value)}", pointer=""
        )
    return tuple(_parse_part(part, f"/{place}") for place, part in enumerate(value))


def _parse_part(value: object, pointer: str) -> Part:
    component = parse_loss(value, pointer=pointer)
    arguments: dict[str, Any] = dict(component.arguments)
    weight = arguments.pop("weight", 1.0)
    if type(weight) not in (int, float) or weight not in _WEIGHTS:
        raise ConfigInvalid(
            f"expected a number {_WEIGHTS}, got {offered(weight)}", pointer=f"{pointer}/weight"
        )
    plain = component.model_validate({"type": component.type, **arguments})
    loss = build_loss(plain, pointer=pointer)
    if isinstance(loss, Weighted):
        raise ConfigInvalid(
            f"expected a loss that is no sum itself, got {offered(component.type)}; list its parts "
            "here",
            pointer=f"{pointer}/type",
        )
    return Part(float(weight), loss)


@LOSSES.register("weighted")
@dataclass(frozen=True)
class Weighted(Loss):
    """The sum of several losses, each times its weight.

    `L = sum_k weight_k · L_k`; `losses` lists each as `{"type": name, "weight": 1, …arguments}`.
    It needs every field that one of them needs; a field that only some of them use is left unused
    by the others.

    Shape: as the losses say; returns a scalar.

    Source: derived; each loss names its own.
    """

    losses: Annotated[tuple[Part, ...], PlainValidator(_parse), WithJsonSchema(_PARTS)]

    @property
    def needs(self) -> frozenset[str]:
        """See `Loss.needs`."""
        return frozenset().union(*(part.loss.needs for part in self.losses))

    @property
    def accepts(self) -> frozenset[str]:
        """See `Loss.accepts`."""
        return frozenset().union(*(part.loss.accepts for part in self.losses))

    @property
    def max_rows(self) -> int | None:
        """See `Loss.max_rows`."""
        found = [part.loss.max_rows for part in self.losses if part.loss.max_rows is not None]
        return min(found, default=None)

    @property
    def uses_bank(self) -> bool:
        """See `Loss.uses_bank`."""
        return any(part.loss.uses_bank for part in self.losses)

    @property
    def has_free_targets(self) -> bool:
        """See `Loss.has_free_targets`; one that wants the reduced width decides."""
        return all(
            part.loss.has_free_targets for part in self.losses if "targets" in part.loss.needs
        )

    @property
    def num_components(self) -> int:
        """See `Loss.num_components`."""
        return max(part.loss.num_components for part in self.losses)

    @property
    def components_at(self) -> str:
        """See `Loss.components_at`; of the part that names the most."""
        found = [part.loss for part in self.losses]
        widest = max(range(len(found)), key=lambda place: found[place].num_components)
        return f"/losses/{widest}{found[widest].components_at}"

    def num_labels(self, n_components: int) -> int | None:
        """See `Loss.num_labels`."""
        found = [part.loss.num_labels(n_components) for part in self.losses]
        return min((number for number in found if number is not None), default=None)

    def __call__(self, batch: TensorBatch, reduced: Tensor, reducer: Reducer, /) -> Tensor:
        """`L` of one batch."""
        values = [part.weight * part.loss(batch, reduced, reducer) for part in self.losses]
        return torch.stack(values).sum()
