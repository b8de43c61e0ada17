"""Arguments of registered things as typed fields, checked with the place of each fault."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from app.config.component import Component, named
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
        fault = first_fault(error)
        allowed = ", ".join(kind.model_fields) or "none"
        hint = f"; its arguments: {allowed}" if fault.code == "unknown_field" else ""
        place = "" if fault.pointer == "/" else fault.pointer
        got = _got(error) if fault.code in ("wrong_type", "out_of_range") else ""
        raise ConfigInvalid(f"{fault.sentence}{got}{hint}", pointer=f"{pointer}{place}") from None


def offered(value: object) -> str:
    """A small value of a config as JSON has it; a long one cut, as names are."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return repr(value)[:66] if isinstance(value, str) else str(value)[:24]


def _got(error: ValidationError) -> str:
    """What was offered, where it is a single value."""
    value = error.errors(include_url=False)[0]["input"]
    return f", got {offered(value)}" if isinstance(value, bool | int | float | str | None) else ""


def parse_method(document: object) -> Component:
    """Validate the `method` of a fit: a name or `{"type": …}`.

    Raises:
        ConfigInvalid: it is neither.
    """
    try:
        return Component.model_validate(named(document))
    except ValidationError:
        raise ConfigInvalid(
            'expected the name of a fit method, or an object like {"type": "pca", "center": true}',
            pointer="/method",
        ) from None
