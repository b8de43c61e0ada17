"""What a loss is, the registry of losses, and how one is made of its JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from functools import lru_cache
from typing import Any, Protocol, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError
from torch import Tensor, nn

from app.allowed import Place
from app.config import Component
from app.errors import ConfigInvalid
from app.faults import first_fault, missing_argument, unknown_argument
from app.registry import Registry
from app.training.batch import TensorBatch
from app.training.reducer import Reducer
from app.types import Json

# A rows² matrix of float32 is then at most 64 MiB; a loss holds a few of them at once.
MAX_PAIRED_ROWS = 4096


class Loss(Protocol):
    """A scalar to minimise: a frozen dataclass whose fields are its JSON arguments.

    A field's type says what the argument may be, `Annotated` with bounds. The attributes below are
    plain values of most members, and follow from the arguments in some.
    """

    @property
    def needs(self) -> frozenset[str]:
        """Fields of the batch, beside hidden_states, without which it cannot be computed."""
        return frozenset()

    @property
    def accepts(self) -> frozenset[str]:
        """Fields that it uses when they are given."""
        return frozenset({"sample_weights"})

    @property
    def max_rows(self) -> int | None:
        """Most rows of one batch: `MAX_PAIRED_ROWS` where every pair of rows is compared.

        None where memory grows with the rows, which every request's own limit bounds.
        """
        return None

    @property
    def uses_bank(self) -> bool:
        """Whether it compares the rows with the reservoir's vectors where there are any."""
        return False

    @property
    def has_free_targets(self) -> bool:
        """Whether targets may be of another width than the reduced rows."""
        return False

    @property
    def num_components(self) -> int:
        """How many components of the reduced rows it names; 0 when it takes them as they are."""
        return 0

    @property
    def components_at(self) -> str:
        """JSON pointer, from the loss, to where it names components; the loss itself if nowhere."""
        return ""

    def num_labels(self, n_components: int) -> int | None:  # noqa: ARG002 - members look at it
        """How many labels there may be; None for any number."""
        return None

    def __call__(self, batch: TensorBatch, reduced: Tensor, reducer: Reducer, /) -> Tensor:
        """The loss of `reduced = reducer(batch.hidden_states)`.

        Args:
            batch: checked by `check_batch`.
            reduced: the batch's rows.
            reducer: reduces other rows in the same way (positives, the bank).

        Shape: reduced (rows, *output_shape); returns a scalar.
        """
        ...


LOSSES: Registry[Callable[..., Loss]] = Registry("loss")

# JSON schema of a loss within the arguments of another one.
DECLARED: Json = {
    "anyOf": [
        {"type": "string", "minLength": 1, "maxLength": 64},
        {"type": "object", "required": ["type"]},
    ]
}


def build_loss(component: Component, *, pointer: str = "/loss") -> Loss:
    """The loss that a config or a request names.

    Args:
        component: `{"type": name, …arguments}`.
        pointer: where the component stands in the document, for messages.

    Raises:
        ConfigInvalid: unknown name or argument, or a value that is none for it.
    """
    loss = LOSSES.choose(component.type, pointer=f"{pointer}/type")
    allowed = {field.name: field for field in fields(loss)}  # type: ignore[arg-type]  # a dataclass
    for name in component.arguments:
        if name not in allowed:
            raise unknown_argument(f"loss {component.type!r}", name, allowed, pointer=pointer)
    for name, field in allowed.items():
        if field.default is MISSING and name not in component.arguments:
            wanted = Place(_kinds(loss)[name].json_schema())
            raise missing_argument(f"loss {component.type!r}", name, wanted, pointer=pointer)
    values = _values(loss, component.arguments, pointer)
    try:
        return loss(**values)
    except ConfigInvalid as error:
        raise ConfigInvalid(error.detail, pointer=f"{pointer}{error.pointer}") from None


def value_of(loss: Loss, batch: TensorBatch, layer: nn.Module) -> Tensor:
    """The loss of one batch under these layers, with gradients; a scalar."""
    reducer = Reducer(layer, batch.context)
    return loss(batch, reducer(batch.hidden_states), reducer)


def _values(
    loss: Callable[..., Loss], arguments: Mapping[str, Any], pointer: str
) -> dict[str, Any]:
    """The arguments as the values that they stand for."""
    kinds, values = _kinds(loss), {}
    for name, value in arguments.items():
        try:
            values[name] = kinds[name].validate_python(value)
        except ValidationError as error:
            fault = first_fault(error, kinds[name].json_schema())
            place = f"{pointer}/{name}{fault.pointer.rstrip('/')}"
            raise ConfigInvalid(fault.told, pointer=place) from None
        except ConfigInvalid as error:
            place = f"{pointer}/{name}{error.pointer}"
            raise ConfigInvalid(error.detail, pointer=place) from None
    return values


@lru_cache(maxsize=64)
def _kinds(loss: Callable[..., Loss]) -> Mapping[str, TypeAdapter[Any]]:
    """What each argument may be."""
    hints = get_type_hints(loss, include_extras=True)
    strict = ConfigDict(strict=True)
    names = [field.name for field in fields(loss)]  # type: ignore[arg-type]  # a dataclass
    return {name: TypeAdapter(hints[name], config=strict) for name in names}
