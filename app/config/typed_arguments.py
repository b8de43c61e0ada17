"""Arguments of registered things as typed fields, checked with the place of each fault."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from app.allowed import schema_of
from app.config.component import Component, named, read_component
from app.errors import ConfigInvalid
from app.faults import first_fault


class Arguments(BaseModel):
    """A registered thing whose fields are its JSON arguments, with bounds and defaults."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


A = TypeVar("A", bound=Arguments)


def parse_arguments(kind: type[A], arguments: Mapping[str, object], *, pointer: str) -> A:
    """One registered thing with the arguments that a config or a request gives.

    Args:
        kind: the class that its name stands for.
        arguments: every key beside the name.
        pointer: where the thing stands in the document.

    Raises:
        ConfigInvalid: an argument that there is not, or one of another kind or out of bounds.
    """
    try:
        return kind.model_validate(dict(arguments))
    except ValidationError as error:
        fault = first_fault(error, schema_of(kind))
        place = "" if fault.pointer == "/" else fault.pointer
        raise ConfigInvalid(fault.told, pointer=f"{pointer}{place}") from None


def parse_method(document: object) -> Component:
    """Validate the `method` of a fit: a name or `{"type": …}`.

    Raises:
        ConfigInvalid: it is neither.
    """
    wanted = 'the name of a fit method, or an object like {"type": "pca", "center": true}'
    return read_component(named(document), wanted=wanted, pointer="/method")
