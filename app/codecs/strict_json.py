"""Strict JSON: UTF-8 without a mark, every key once, no NaN, bounded depth (RFC 8259)."""

from __future__ import annotations

import json
import re
from math import isinf
from typing import Any

import orjson

from app.codecs.codec import Buffer
from app.codecs.fields import duplicate_key, empty_body
from app.errors import Malformed, SlimvecError, TooLarge, Unacceptable

MAX_DEPTH = 10
# Of a config, whose layers may be within layers: what that costs is bounded where they are read.
CONFIG_DEPTH = 32
MAX_BYTES = 1 << 20

_NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?")
_SURROGATE_IN_KEY = re.compile(r'\\u[dD][89a-fA-F][^"\\]*(?:\\.[^"\\]*)*"\s*:', re.DOTALL)


def parse_object(body: Buffer, *, max_depth: int = MAX_DEPTH) -> dict[str, Any]:
    """A small JSON object, as control routes and config files send it.

    Args:
        body: the bytes.
        max_depth: how many objects and arrays may be within each other.

    Raises:
        Malformed: `empty_body`, `malformed_json`, `duplicate_key` (at any level).
        Unacceptable: `wrong_type` when it is no object; a number that no float64 holds.
        TooLarge: `body_too_large`.
    """
    if not len(body):
        raise empty_body("application/json")
    value = parse_value(body, max_depth=max_depth)
    if not isinstance(value, dict):
        raise not_an_object()
    return value


def parse_value(body: Buffer, *, max_depth: int = MAX_DEPTH) -> Any:
    """A small JSON value of any kind; refuses what `parse_object` refuses."""
    if len(body) > MAX_BYTES:
        raise TooLarge(
            "body_too_large", f"expected at most {MAX_BYTES} bytes of JSON, got {len(body)}"
        )
    check_syntax(body)
    value = _load(body)
    if not _is_within(value, max_depth):
        raise too_deep(max_depth)
    return value


def with_floats_for_big_integers(body: Buffer) -> bytes:
    """The same document, each integer beyond 64 bits written as the nearest float64.

    Raises:
        Malformed: not strict JSON.
        Unacceptable: a number that no float64 holds.
    """
    document = check_syntax(body)
    _load(body)
    try:
        return orjson.dumps(document)
    except orjson.JSONEncodeError:
        raise too_deep() from None


def check_syntax(body: Buffer) -> Any:
    """What orjson reads: RFC 8259 JSON in UTF-8; of a key given twice, the last.

    Raises:
        Malformed: `malformed_json`, with the offset of the first wrong byte.
        Unacceptable: `non_finite_input`, `out_of_range`; `unknown_field` for a name that is
            no Unicode text.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        refusal = _explain(error, body)
    # Raised out here, the refusal does not keep the decoder's copy of the body alive.
    raise refusal


def malformed_json(offset: int) -> SlimvecError:
    """The refusal of bytes that are not JSON."""
    return Malformed(
        "malformed_json",
        "expected one JSON value in UTF-8 without byte order mark (RFC 8259); "
        f"parsing stopped at byte {offset}",
    )


def too_deep(max_depth: int = MAX_DEPTH) -> SlimvecError:
    """The refusal of a document nested beyond reason."""
    return Malformed(
        "malformed_json", f"expected JSON nested at most {max_depth} deep, got more; flatten it"
    )


def not_an_object() -> SlimvecError:
    """The refusal of a list, string or number where the fields should be."""
    return Unacceptable("wrong_type", "expected a JSON object, got another kind; send {…}")


def _explain(error: orjson.JSONDecodeError, body: Buffer) -> SlimvecError:
    text, position = error.doc, error.pos
    number = _NUMBER.match(text, position)
    if number and isinf(float(number[0])):
        return _beyond_float64(is_integer=number[1] is None and number[2] is None)
    if _SURROGATE_IN_KEY.match(text, position):
        return Unacceptable(
            "unknown_field", "expected field names of Unicode text, got a lone surrogate in one"
        )
    try:
        str(body, "utf-8")
    except UnicodeDecodeError as undecodable:
        return malformed_json(undecodable.start)
    return malformed_json(len(text[:position].encode()))


def _beyond_float64(*, is_integer: bool) -> SlimvecError:
    if is_integer:
        return Unacceptable(
            "out_of_range", "expected numbers within float32, got an integer of 309 digits or more"
        )
    return Unacceptable(
        "non_finite_input", "expected finite numbers, got one that is infinite as float64"
    )


def _load(body: Buffer) -> Any:
    """The document with integers of any size, every key once."""
    try:
        return _DECODER.decode(str(body, "utf-8"))
    except RecursionError:
        raise too_deep() from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise duplicate_key()
    return members


def _is_within(value: Any, depth: int) -> bool:
    if not isinstance(value, (dict, list)):
        return True
    children = value.values() if isinstance(value, dict) else value
    return depth > 0 and all(_is_within(child, depth - 1) for child in children)


_DECODER = json.JSONDecoder(object_pairs_hook=_object)
