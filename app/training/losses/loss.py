"""What a loss is, the registry of losses, and how one is made of its JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from functools import lru_cache
from typing import Any, Protocol, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError
from torch import Tensor, nn

from app.config import Component, parse_loss
from app.errors import ConfigInvalid, pointer_token
from app.faults import first_fault
from app.registry import Registry
from app.training.batch import TensorBatch
from app.training.reducer import Reducer

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
            raise ConfigInvalid(
                f"loss {component.type!r} has no argument {name[:64]!r}; "
                f"expected one of: {', '.join(allowed) or 'none'}",
                pointer=f"{pointer}/{pointer_token(name)}",
            )
    for name, field in allowed.items():
        if field.default is MISSING and name not in component.arguments:
            raise ConfigInvalid(
                f"expected {name} for loss {component.type!r}, got none; add it",
                pointer=f"{pointer}/{name}",
            )
    values = _values(loss, component.arguments, pointer)
    try:
        return loss(**values)
    except ConfigInvalid as error:
        raise ConfigInvalid(error.detail, pointer=f"{pointer}{error.pointer}") from None


def parse_component(value: object, *, pointer: str) -> Component:
    """A loss within the arguments of another one: a name, or an object with its type.

    Raises:
        ConfigInvalid: it is neither.
    """
    try:
        return parse_loss(value)
    except ConfigInvalid as error:
        raise ConfigInvalid(error.detail, pointer=pointer) from None


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
            fault = first_fault(error)
            place = f"{pointer}/{name}{fault.pointer.rstrip('/')}"
            raise ConfigInvalid(f"{name}: {fault.sentence}", pointer=place) from None
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
