"""Every field of a config, refused as it must be: its pointer, what came and what is allowed.

Nothing is listed by hand: the fields and their bounds come from the JSON schema of the config.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from pydantic import ValidationError

from app.config import ModelConfig, parse_config
from app.errors import ConfigInvalid
from app.wording import offered

_LAYER = {"type": "QRReduction", "n_components": 2}
_CONFIG: dict[str, Any] = {"input_size": 4, "layers": [_LAYER]}

# Where every value of the right kind is right.
_WITHOUT_RANGE = {
    "/optimizer/groups/0/match": "any string may be a pattern; which are none, test_patterns says",
}
_KINDS = {
    "integer": "an integer",
    "number": "a number",
    "string": "a string",
    "array": "an array",
    "object": "an object",
    "boolean": "true or false",
    "null": "null",
}
_SCHEMA = ModelConfig.model_json_schema()


def _resolved(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    return _SCHEMA["$defs"][schema["$ref"].split("/")[-1]] if "$ref" in schema else schema


def _choices(schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [_resolved(choice) for choice in _resolved(schema).get("anyOf", [schema])]


def _fields(schema: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every place in a config, with what its schema says of it."""
    if path:
        yield path, schema
    for choice in _choices(schema):
        for name, field in choice.get("properties", {}).items():
            yield from _fields(field, f"{path}/{name}")
        if isinstance(choice.get("items"), dict):
            yield from _fields(choice["items"], f"{path}/0")


FIELDS = dict(_fields(_SCHEMA))


def _kinds(schema: Mapping[str, Any]) -> set[str]:
    return {choice.get("type", "string") for choice in _choices(schema)}


def _of_another_kind(schema: Mapping[str, Any]) -> object:
    """A value of no kind that is allowed here; the name of a loss is short for an object."""
    return 7 if _kinds(schema) <= {"object", "string"} else "wrong"


def _out_of_range(schema: Mapping[str, Any]) -> Iterator[object]:
    """A value beyond each bound there is."""
    for choice in _choices(schema):
        if "minimum" in choice:
            yield choice["minimum"] - 1
        if "maximum" in choice:
            yield choice["maximum"] * 2
        if "exclusiveMinimum" in choice:
            yield choice["exclusiveMinimum"]
        if "exclusiveMaximum" in choice:
            yield choice["exclusiveMaximum"]
        if "enum" in choice or "maxLength" in choice:
            yield "x" * 65
        if "maxItems" in choice:
            entry = 1 if "$ref" not in choice["items"] else {"type": "x"}
            yield [entry] * (choice["maxItems"] + 1)


def _allowed(schema: Mapping[str, Any]) -> Iterator[str]:
    """What a message must say of what is allowed, straight from the schema."""
    for choice in _choices(schema):
        if "enum" in choice:
            yield from map(repr, choice["enum"])
        elif "const" in choice:
            yield repr(choice["const"])
        else:
            yield _KINDS[choice["type"]]
        for bound in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "maxItems"):
            if bound in choice:
                end = choice[bound]
                yield f"{end:g}" if isinstance(end, float) else str(end)


def _with(path: str, value: object) -> dict[str, Any]:
    """A config that is right but for this value."""
    document: Any = value
    for part in reversed(path.split("/")[1:]):
        document = [document] if part == "0" else {part: document}
    (name, inner), *_ = document.items()
    if name in ("loss", "optimizer") and isinstance(inner, dict):
        inner = {"type": "Adam", **inner}
    return {**_CONFIG, "recipe": "plain", name: inner}


@pytest.mark.parametrize("path", FIELDS)
def test_every_field_names_its_pointer_what_came_and_what_is_allowed(path: str) -> None:
    beyond = list(_out_of_range(FIELDS[path]))
    has_range = _kinds(FIELDS[path]) & {"integer", "number", "string"}
    assert bool(beyond or path in _WITHOUT_RANGE) >= bool(has_range)
    for value in (_of_another_kind(FIELDS[path]), *beyond):
        with pytest.raises(ConfigInvalid) as refused:
            parse_config(_with(path, value))
        told = refused.value.detail
        assert refused.value.pointer == path
        assert told.endswith(f", got {offered(value)}"), told
        assert [words for words in _allowed(FIELDS[path]) if words not in told] == [], told


@pytest.mark.parametrize("path", [path for path in FIELDS if "array" in _kinds(FIELDS[path])])
def test_of_an_array_only_the_first_wrong_entry_is_looked_at(path: str) -> None:
    """A megabyte of wrong entries would hold the event loop for seconds."""
    with pytest.raises(ValidationError) as refused:
        ModelConfig.model_validate(_with(path, [[]] * 1000))
    assert refused.value.error_count() < 10


def test_the_fields_that_are_walked_are_all_there_are() -> None:
    assert {path.split("/")[1] for path in FIELDS} == set(ModelConfig.model_fields)
    assert len(FIELDS) > 45
    assert _WITHOUT_RANGE.keys() <= FIELDS.keys()
