"""JSON bodies: arrays as nested lists or base64, options beside them."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import simdjson

from app.codecs.base64 import read_base64, write_base64
from app.codecs.codec import CODECS, Body, BodySchema, Buffer, Encoding
from app.codecs.dtypes import allowed_dtypes
from app.codecs.fields import check_fields
from app.codecs.nested import NestedLists, check_regular, kind, read_nested, read_whole
from app.codecs.parsers import Parsers, field_names
from app.codecs.strict_json import parse_value
from app.errors import Unacceptable
from app.types import FloatArray, Reduced

# Numbers that are written in one go: about a millisecond.
_PIECE = 1 << 15


class JsonCodec:
    """`{"hidden_states": [[…]], "version": 3}`, parsed without making Python numbers."""

    media_type = "application/json"

    def __init__(self) -> None:
        self._parsers = Parsers()

    def decode(self, body: Buffer, schema: BodySchema) -> Body:
        """The arrays in float32 and the options as plain JSON values."""
        return self._parsers.read(body, lambda root: _read(root, body, schema))

    def encode(self, reduced: Reduced, *, encoding: Encoding = "float") -> bytes:
        """Numbers in the fewest digits that restore the same float32, or base64."""
        array = np.ascontiguousarray(reduced.array)
        return orjson.dumps(
            {
                "reduced": _numbers(array) if encoding == "float" else write_base64(array),
                "shape": array.shape,
                "model": reduced.stamp.model,
                "version": reduced.stamp.version,
                "digest": reduced.stamp.digest,
            },
            option=orjson.OPT_SERIALIZE_NUMPY,
        )


def _numbers(array: FloatArray) -> FloatArray | orjson.Fragment:
    """What stands for the array in a document."""
    return array if array.size <= _PIECE else orjson.Fragment(_in_pieces(array))


def _in_pieces(array: FloatArray) -> bytes:
    """Nested lists, written so that other threads get a turn: orjson holds all of them up."""
    if array.ndim == 1 or array.size <= _PIECE:
        return orjson.dumps(array, option=orjson.OPT_SERIALIZE_NUMPY)
    if not (step := _PIECE // array[0].size):
        return b"[%b]" % b",".join([_in_pieces(part) for part in array])
    begins = range(0, len(array), step)
    pieces = [_in_pieces(array[begin : begin + step])[1:-1] for begin in begins]
    return b"[%b]" % b",".join(pieces)


def _read(root: Any, body: Buffer, schema: BodySchema) -> Body:
    names = field_names(root)
    check_fields(names, schema.fields)
    arrays: dict[str, FloatArray] = {}
    nested: dict[str, NestedLists] = {}
    options: dict[str, Any] = {}
    for name in names:  # not items(), which turns every list into Python numbers
        value = root[name]
        pointer = f"/{name}"
        if name in schema.options:
            options[name] = _option(value)
        elif type(value) is simdjson.Array:
            read = read_whole if name in schema.whole else read_nested
            nested[name] = read(value, max_rows=schema.max_rows, pointer=pointer)
        elif type(value) is simdjson.Object:
            allowed = allowed_dtypes(schema, name)
            arrays[name] = read_base64(
                value, max_rows=schema.max_rows, pointer=pointer, allowed=allowed
            )
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
