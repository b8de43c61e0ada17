"""JSON bodies: arrays as nested lists or base64, options beside them."""

from __future__ import annotations

from codecs import BOM_UTF8
from typing import Any

import numpy as np
import orjson
import simdjson

from app.codecs.base64 import read_base64, write_base64
from app.codecs.codec import CODECS, Body, BodySchema, Buffer, Encoding
from app.codecs.fields import check_fields, empty_body
from app.codecs.nested import NestedLists, check_regular, kind, read_nested
from app.codecs.strict_json import (
    malformed_json,
    not_an_object,
    parse_value,
    too_deep,
    with_floats_for_big_integers,
)
from app.errors import Malformed, Unacceptable
from app.types import FloatArray, Reduced

_MAX_KEYS = 64
# A fresh parser for a large body costs thousands of page faults (a third of such a request); a kept
# one holds several times the bytes of its largest body, so few are kept.
_IDLE_PARSERS = 2


class JsonCodec:
    """`{"hidden_states": [[…]], "version": 3}`, parsed without making Python numbers."""

    media_type = "application/json"

    def __init__(self) -> None:
        # A parser serves one thread at a time and refuses work while anything that it parsed is
        # alive. So each call takes one and gives it back only after a success: what a raised
        # error holds on to is never in the way. list.pop and list.append are atomic.
        self._idle: list[simdjson.Parser] = []

    def decode(self, body: Buffer, schema: BodySchema) -> Body:
        """The arrays in float32 and the options as plain JSON values."""
        if not len(body):
            raise empty_body(self.media_type)
        if bytes(body[: len(BOM_UTF8)]) == BOM_UTF8:
            raise malformed_json(0)
        try:
            parser = self._idle.pop()
        except IndexError:
            parser = simdjson.Parser()
        decoded = _read(_parse(parser, body), body, schema)
        if len(self._idle) < _IDLE_PARSERS:
            self._idle.append(parser)
        return decoded

    def encode(self, reduced: Reduced, *, encoding: Encoding = "float") -> bytes:
        """Numbers in the fewest digits that restore the same float32, or base64."""
        array = np.ascontiguousarray(reduced.array)
        return orjson.dumps(
            {
                "reduced": array if encoding == "float" else write_base64(array),
                "shape": array.shape,
                "model": reduced.stamp.model,
                "version": reduced.stamp.version,
                "digest": reduced.stamp.digest,
            },
            option=orjson.OPT_SERIALIZE_NUMPY,
        )


def _parse(parser: simdjson.Parser, body: Buffer) -> Any:
    """The document; where simdjson refuses, a slower and more careful look says why, or helps."""
    try:
        return parser.parse(body)
    except (ValueError, RuntimeError):
        pass
    repaired = with_floats_for_big_integers(body)
    try:
        return parser.parse(repaired)
    except (ValueError, RuntimeError):
        raise too_deep() from None


def _read(root: Any, body: Buffer, schema: BodySchema) -> Body:
    if type(root) is not simdjson.Object:
        raise not_an_object()
    if len(root) > _MAX_KEYS:
        raise Malformed("too_many_keys", f"expected at most {_MAX_KEYS} fields, got {len(root)}")
    names = list(root)
    check_fields(names, schema.arrays | schema.options)
    arrays: dict[str, FloatArray] = {}
    nested: dict[str, NestedLists] = {}
    options: dict[str, Any] = {}
    for name in names:  # not items(), which turns every list into Python numbers
        value = root[name]
        pointer = f"/{name}"
        if name in schema.options:
            options[name] = _option(value)
        elif type(value) is simdjson.Array:
            nested[name] = read_nested(value, max_rows=schema.max_rows, pointer=pointer)
        elif type(value) is simdjson.Object:
            arrays[name] = read_base64(value, max_rows=schema.max_rows, pointer=pointer)
        else:
            raise _not_an_array(value, pointer)
    check_regular(body, nested.values())
    arrays |= {name: lists.array for name, lists in nested.items()}
    return Body(arrays, options)


def _option(value: Any) -> Any:
    """A scalar as it is; a list or object checked as strictly as the body of a control route."""
    is_container = type(value) in (simdjson.Array, simdjson.Object)
    return parse_value(value.mini) if is_container else value


def _not_an_array(value: Any, pointer: str) -> Unacceptable:
    return Unacceptable(
        "wrong_type",
        f"expected nested lists of numbers, or an object with shape, dtype and data, "
        f"got {kind(value)}",
        pointer=pointer,
    )


CODECS.register(JsonCodec.media_type)(JsonCodec())
