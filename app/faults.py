"""What pydantic found, in our words: the field, a code, what it may hold and what came."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from app.allowed import Place, Schema, place_of
from app.errors import ConfigInvalid, pointer_token
from app.wording import nearest, offered

# A `PydanticCustomError` whose message is ours already: this prefix, then our code.
OURS = "slimvec_"
_CODES = {"missing": "missing_field", "extra_forbidden": "unknown_field"}


@dataclass(frozen=True, slots=True)
class Fault:
    """The first thing wrong with a document.

    Attributes:
        pointer: JSON pointer to the field.
        code: `missing_field`, `unknown_field`, `wrong_type` or `out_of_range`.
        sentence: what was expected; nothing of what came.
        got: what came, as `offered` has it; empty where that is never told.
    """

    pointer: str
    code: str
    sentence: str
    got: str = ""

    @property
    def told(self) -> str:
        """What was expected and what came."""
        return f"{self.sentence}, got {self.got}" if self.got else self.sentence


def first_fault(error: ValidationError, schema: Schema) -> Fault:
    """The first fault that a validation found.

    Args:
        error: what pydantic says.
        schema: JSON schema of the document: it says what each place may hold.
    """
    found = _first(error.errors(include_url=False))
    kind, path = found["type"], found["loc"]
    if kind in _CODES:
        return _field_fault(_CODES[kind], place_of(schema, path[:-1]), str(path[-1]))
    place = place_of(schema, path)
    got = "" if place.is_secret else offered(found["input"])
    if kind.startswith(OURS):
        return Fault(_pointer(place) or "/", kind.removeprefix(OURS), found["msg"], got)
    is_type = kind.endswith(("_type", "_parsing", "_from_float"))
    code = "wrong_type" if is_type else "out_of_range"
    return Fault(_pointer(place) or "/", code, f"expected {place}", got)


def unknown_argument(
    owner: str, name: str, allowed: Iterable[str], *, pointer: str
) -> ConfigInvalid:
    """The refusal of an argument that a registered thing does not have."""
    known = ", ".join(nearest(allowed, name)) or "none"
    return ConfigInvalid(
        f"{owner} has no argument {offered(name)} here; expected one of: {known}",
        pointer=f"{pointer}/{pointer_token(name)}",
    )


def missing_argument(owner: str, name: str, allowed: object, *, pointer: str) -> ConfigInvalid:
    """The refusal of a registered thing that needs one more argument, which may be `allowed`."""
    return ConfigInvalid(
        f"expected {name} for {owner}, {allowed}, got none; add it", pointer=f"{pointer}/{name}"
    )


def _first(errors: Sequence[ErrorDetails]) -> ErrorDetails:
    """The first one; where a field is missing and another one is misspelt, the misspelt one."""
    first = errors[0]
    if first["type"] != "missing":
        return first
    around = first["loc"][:-1]
    unknown = (e for e in errors if e["type"] == "extra_forbidden" and e["loc"][:-1] == around)
    return next(unknown, first)


def _field_fault(code: str, around: Place, name: str) -> Fault:
    """A field that is missing in an object, or that the object does not have."""
    pointer = f"{_pointer(around)}/{pointer_token(name)}"
    if code == "missing_field":
        around.step(name)
        return Fault(pointer, code, f"expected {name}, {around}", "none; add it")
    fields = ", ".join(nearest(around.fields, name)) or "none"
    return Fault(pointer, code, f"there is no such field; expected one of: {fields}")


def _pointer(place: Place) -> str:
    return "".join(f"/{pointer_token(part)}" for part in place.path)
