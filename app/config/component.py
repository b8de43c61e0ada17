"""Registered things by name, with their arguments beside the name."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.allowed import schema_of
from app.errors import ConfigInvalid
from app.faults import first_fault


def named(value: object) -> object:
    """`"mse"` is short for `{"type": "mse"}`."""
    return {"type": value} if isinstance(value, str) else value


class Component(BaseModel):
    """One registered thing by its name, with its own arguments beside it.

    `{"type": "QRReduction", "n_components": 96}`: every key but `type` is an argument.
    """

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    type: str = Field(description="registered name", min_length=1, max_length=64)

    @property
    def arguments(self) -> dict[str, Any]:
        """Every key beside the declared fields: what the named thing is called with."""
        return dict(self.model_extra or {})


def read_component(document: object, *, wanted: str, pointer: str) -> Component:
    """A registered thing that a document declares.

    Args:
        document: an object with its name as `type`.
        wanted: what it should be, in words.
        pointer: where it stands.

    Raises:
        ConfigInvalid: it is something else.
    """
    try:
        return Component.model_validate(document)
    except ValidationError as error:
        fault = first_fault(error, schema_of(Component))
    if fault.pointer == "/":
        raise ConfigInvalid(f"expected {wanted}, got {fault.got}", pointer=pointer)
    raise ConfigInvalid(fault.told, pointer=f"{pointer}{fault.pointer}")
