"""What the documents of the Open Inference Protocol are made of, checked as it is taken out."""

from __future__ import annotations

from typing import Any

import simdjson

from app.codecs.fields import duplicate_key
from app.codecs.nested import kind
from app.errors import Malformed, Unacceptable
from app.types import Json

_MAX_KEYS = 64
_CONTAINERS = (simdjson.Array, simdjson.Object)
_WORDS: dict[type, str] = {
    bool: "true or false",
    int: "an integer",
    str: "a string",
    simdjson.Array: "a list",
    simdjson.Object: "an object",
}


def members(fields: simdjson.Object, pointer: str = "") -> list[str]:
    """The names in an object; which of them mean something, the protocol leaves open.

    Raises:
        Malformed: `too_many_keys`, `duplicate_key`.
    """
    if len(fields) > _MAX_KEYS:
        raise Malformed("too_many_keys", f"expected at most {_MAX_KEYS} fields, got {len(fields)}")
    names: list[str] = list(fields)
    if len(set(names)) < len(names):
        raise duplicate_key(pointer)
    return names


def typed(value: Any, wanted: type, pointer: str) -> Any:
    """The value itself, when it is of that kind.

    Raises:
        Unacceptable: `missing_field`, `wrong_type`.
    """
    if value is None:
        raise Unacceptable("missing_field", f"expected {_WORDS[wanted]}, got none", pointer=pointer)
    if type(value) is not wanted:
        raise Unacceptable(
            "wrong_type", f"expected {_WORDS[wanted]}, got {kind(value)}", pointer=pointer
        )
    return value


def parameters_of(fields: simdjson.Object, pointer: str = "") -> Json:
    """The `parameters` of a request or tensor: strings, numbers and booleans by name.

    Raises:
        Malformed: `too_many_keys`, `duplicate_key`.
        Unacceptable: `wrong_type`.
    """
    found = fields.get("parameters")
    if found is None:
        return {}
    at = f"{pointer}/parameters"
    named = typed(found, simdjson.Object, at)
    # A name with a NUL means nothing here, and the parser, which takes C strings, cannot find it.
    names = [name for name in members(named, at) if "\0" not in name]
    parameters = {name: named[name] for name in names}
    if any(type(value) in _CONTAINERS for value in parameters.values()):
        raise Unacceptable(
            "wrong_type",
            "expected each parameter to be a string, a number or a boolean, "
            "got a list or an object; flatten it",
            pointer=at,
        )
    return parameters


def flag(parameters: Json, name: str, pointer: str = "", *, by_default: bool) -> bool:
    """A boolean parameter.

    Raises:
        Unacceptable: `wrong_type`.
    """
    value = parameters.get(name)
    if value is None:
        return by_default
    found: bool = typed(value, bool, f"{pointer}/parameters/{name}")
    return found


def only_tensor(tensors: Any, name: str, pointer: str) -> simdjson.Object:
    """The one entry of `inputs` or `outputs`, which has to be of that name.

    Raises:
        Malformed: `too_many_keys`, `duplicate_key`.
        Unacceptable: `missing_field`, `wrong_type`, `unknown_tensor`.
    """
    entries = typed(tensors, simdjson.Array, pointer)
    if len(entries) != 1:
        raise Unacceptable(
            "unknown_tensor",
            f"expected one tensor, {name}, got {len(entries)}; send or ask for it once",
            pointer=pointer,
        )
    at = f"{pointer}/0"
    fields: simdjson.Object = typed(entries[0], simdjson.Object, at)
    members(fields, at)
    if typed(fields.get("name"), str, f"{at}/name") != name:
        raise Unacceptable(
            "unknown_tensor", f"expected the tensor {name}, got another name", pointer=at
        )
    return fields
