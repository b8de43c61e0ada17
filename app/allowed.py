"""What a place in a document may hold, in words: read from its JSON schema."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import inf
from typing import Any, TypeAlias

from pydantic import BaseModel

from app.wording import either, number, offered

Schema: TypeAlias = Mapping[str, Any]

_SIMPLE = {"boolean": "true or false", "null": "null"}


@dataclass(frozen=True, slots=True)
class Interval:
    """The numbers from one end to the other.

    Attributes:
        least: the lower end.
        most: the upper end.
        above: whether the lower end itself is outside.
        below: whether the upper end itself is outside.
    """

    least: float = -inf
    most: float = inf
    above: bool = False
    below: bool = False

    def __contains__(self, value: object) -> bool:
        return (
            isinstance(value, int | float)
            and self.least <= value <= self.most
            and not (self.above and value == self.least)
            and not (self.below and value == self.most)
        )

    def __str__(self) -> str:
        least, most = number(self.least), number(self.most)
        if self.least > -inf and self.most < inf:
            if self.above:
                return f"above {least} and {'below' if self.below else 'at most'} {most}"
            return f"from {least} to {'below ' if self.below else ''}{most}"
        if self.least > -inf:
            return f"above {least}" if self.above else f"of at least {least}"
        if self.most < inf:
            return f"below {most}" if self.below else f"of at most {most}"
        return ""


@lru_cache(maxsize=64)
def schema_of(kind: type[BaseModel]) -> Schema:
    """The JSON schema of a model; faults are rare, and one costs milliseconds to make."""
    return kind.model_json_schema()


class Place:
    """A place in a document, and what it may hold.

    Args:
        schema: of the whole document.
    """

    def __init__(self, schema: Schema) -> None:
        self.path: tuple[str | int, ...] = ()
        self._root = schema
        self._here = self._resolved(schema)

    def step(self, part: str | int) -> None:
        """Go to a field or an entry.

        pydantic also names, as a step, which of several types it tried; there is no such place.
        """
        for choice in self._choices(self._here):
            found = self._within(choice, part)
            if found is not None:
                self.path = (*self.path, part)
                self._here = self._resolved(found)
                return

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of the fields of an object here."""
        return tuple(name for c in self._choices(self._here) for name in c.get("properties", ()))

    @property
    def is_secret(self) -> bool:
        """Whether what stands here is never told."""
        return any(choice.get("writeOnly") for choice in self._choices(self._here))

    def __str__(self) -> str:
        return self._words(self._here)

    def _resolved(self, schema: Schema) -> Schema:
        if "$ref" not in schema:
            return schema
        found: Schema = self._root["$defs"][schema["$ref"].rpartition("/")[2]]
        return found

    def _choices(self, schema: Schema) -> Iterator[Schema]:
        for choice in schema.get("anyOf", (schema,)):
            yield self._resolved(choice)

    def _within(self, schema: Schema, part: str | int) -> Schema | None:
        if isinstance(part, int):
            entries = schema.get("prefixItems", ())
            found = entries[part] if part < len(entries) else schema.get("items")
        else:
            found = schema.get("properties", {}).get(part)
        return found if isinstance(found, Mapping) else None

    def _words(self, schema: Schema) -> str:
        schema = self._resolved(schema)
        if "anyOf" in schema:
            return either(self._words(choice) for choice in schema["anyOf"])
        if "enum" in schema or "const" in schema:
            return either(map(offered, schema.get("enum", [schema.get("const")])))
        kind = schema.get("type", "")
        if kind in ("integer", "number"):
            return f"{'an' if kind == 'integer' else 'a'} {kind} {_interval(schema)}".rstrip()
        if kind == "string":
            return f"a string{_count(schema, 'Length', 'character')}"
        if kind == "array":
            return f"an array{_count(schema, 'Items', 'entry')}{self._entries(schema)}"
        if kind == "object":
            needed = schema.get("required", ())
            return f"an object with {' and '.join(needed)}" if needed else "an object"
        return _SIMPLE.get(kind, "any value")

    def _entries(self, schema: Schema) -> str:
        entry = schema.get("items")
        return f", each {self._words(entry)}" if isinstance(entry, Mapping) and entry else ""


def place_of(schema: Schema, parts: Sequence[str | int]) -> Place:
    """The place that a path leads to, as far as the schema knows it."""
    place = Place(schema)
    for part in parts:
        place.step(part)
    return place


def _interval(schema: Schema) -> Interval:
    above, below = "exclusiveMinimum" in schema, "exclusiveMaximum" in schema
    return Interval(
        schema.get("exclusiveMinimum", schema.get("minimum", -inf)),
        schema.get("exclusiveMaximum", schema.get("maximum", inf)),
        above,
        below,
    )


def _count(schema: Schema, what: str, one: str) -> str:
    """` of 1 to 8 entries`, from `minItems` and `maxItems`."""
    least, most = schema.get(f"min{what}"), schema.get(f"max{what}")
    many = "entries" if one == "entry" else f"{one}s"
    if least is None and most is None:
        return ""
    if least == most:
        return f" of {least} {one if least == 1 else many}"
    if most is None:
        return f" of at least {least} {one if least == 1 else many}"
    return f" of at most {most} {many}" if not least else f" of {least} to {most} {many}"
