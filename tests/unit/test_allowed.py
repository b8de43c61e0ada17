from __future__ import annotations

from math import inf, nan

import pytest

from app.allowed import Interval, Place, place_of


@pytest.mark.parametrize(
    ("interval", "told", "within", "outside"),
    [
        (Interval(0, 1), "from 0 to 1", (0, 0.5, 1), (-1e-9, 1.1, nan, inf)),
        (Interval(0, 1, above=True), "above 0 and at most 1", (1e-9, 1), (0, -1, 2)),
        (Interval(0, 1, below=True), "from 0 to below 1", (0, 0.999), (1, -1)),
        (Interval(0, 1, above=True, below=True), "above 0 and below 1", (0.5,), (0, 1)),
        (Interval(2), "of at least 2", (2, 1e300), (1.9, nan)),
        (Interval(2, above=True), "above 2", (2.1,), (2,)),
        (Interval(most=2), "of at most 2", (2, -1e300), (2.1,)),
        (Interval(most=2, below=True), "below 2", (1.9,), (2,)),
        (Interval(), "", (0, -1e300), (nan, "1", None)),
    ],
)
def test_an_interval_holds_what_it_says(
    interval: Interval, told: str, within: tuple[object, ...], outside: tuple[object, ...]
) -> None:
    assert str(interval) == told
    assert all(value in interval for value in within)
    assert not any(value in interval for value in outside)


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ({"type": "integer", "minimum": 1, "maximum": 9}, "an integer from 1 to 9"),
        ({"type": "number", "exclusiveMinimum": 0}, "a number above 0"),
        ({"type": "number"}, "a number"),
        ({"type": "boolean"}, "true or false"),
        ({"enum": ["a", "b"], "type": "string"}, "'a' or 'b'"),
        ({"const": "live"}, "'live'"),
        ({"type": "string", "minLength": 1}, "a string of at least 1 character"),
        ({"type": "string", "minLength": 1, "maxLength": 64}, "a string of 1 to 64 characters"),
        ({"type": "array", "minItems": 2, "maxItems": 2}, "an array of 2 entries"),
        ({"type": "array", "items": {"type": "integer"}}, "an array, each an integer"),
        ({"type": "object", "required": ["type", "lr"]}, "an object with type and lr"),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "an integer or null"),
        ({}, "any value"),
    ],
)
def test_a_schema_is_told_in_words(schema: dict[str, object], told: str) -> None:
    assert str(Place(schema)) == told


def test_a_path_is_followed_through_choices_and_past_what_pydantic_adds() -> None:
    part = {"type": "object", "properties": {"rank": {"type": "integer"}}}
    schema = {
        "type": "object",
        "properties": {"parts": {"anyOf": [{"type": "array", "items": {"$ref": "#/$defs/Part"}}]}},
        "$defs": {"Part": part},
    }
    place = place_of(schema, ("parts", "list[Part]", 3, "rank", "constrained-int"))
    assert (place.path, str(place)) == (("parts", 3, "rank"), "an integer")
