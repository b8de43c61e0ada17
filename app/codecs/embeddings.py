"""Bodies of OpenAI's embeddings protocol: vectors, texts or tokens in, one vector for each out."""

from __future__ import annotations

from binascii import b2a_base64
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import simdjson

from app.codecs.codec import Buffer, Encoding
from app.codecs.dtypes import FLOAT32
from app.codecs.fields import duplicate_key
from app.codecs.nested import check_regular, kind, read_nested
from app.codecs.parsers import Parsers, field_names
from app.errors import Unacceptable
from app.types import FloatArray, Json, TextInput

MAX_TEXTS = 2048
_INPUT = "/input"


@dataclass(frozen=True, slots=True)
class EmbeddingsBody:
    """A decoded request for embeddings.

    Attributes:
        input: vectors of shape `(rows, width)`, or texts, or lists of tokens.
        options: the known fields beside it, as plain JSON values; null is as if left out.
    """

    input: FloatArray | TextInput
    options: dict[str, Any]


class EmbeddingsCodec:
    """`{"input": …}` in, `{"data": [{"embedding": …}]}` out.

    Args:
        options: the fields beside `input` that are read; all others are ignored, as OpenAI's
            clients send what this or that server understands.
        max_rows: most vectors in one body.
    """

    def __init__(self, options: frozenset[str], *, max_rows: int) -> None:
        self._parsers = Parsers()
        self._options = options
        self._max_rows = max_rows

    def decode(self, body: Buffer) -> EmbeddingsBody:
        """The input and the options.

        A list that holds any number with a fraction or exponent is a vector; integers alone are
        tokens, unless the field `input_type` says "vector".

        Raises:
            Malformed: not strict JSON, a field twice.
            Unacceptable: no input, or another one than texts, tokens or vectors.
            TooLarge: too many vectors.
        """
        return self._parsers.read(body, lambda root: self._read(root, body))

    def encode(self, rows: FloatArray, beside: Json, *, encoding: Encoding) -> bytes:
        """One item for each row, `beside` next to them.

        Numbers are in the fewest digits that restore the same float32; base64 is of the
        little-endian bytes.
        """
        rows = np.ascontiguousarray(rows, FLOAT32.stored)
        written = rows if encoding == "float" else map(_base64, rows)
        items = [
            {"object": "embedding", "index": index, "embedding": embedding}
            for index, embedding in enumerate(written)
        ]
        return orjson.dumps(
            {"object": "list", "data": items, **beside}, option=orjson.OPT_SERIALIZE_NUMPY
        )

    def _read(self, root: Any, body: Buffer) -> EmbeddingsBody:
        names = field_names(root)
        if len(set(names)) < len(names):
            raise duplicate_key()
        options = {name: _scalar(root[name], name) for name in names if name in self._options}
        given = {name: value for name, value in options.items() if value is not None}
        if "input" not in names:
            raise Unacceptable(
                "missing_field", "expected the field input: texts, or vectors", pointer=_INPUT
            )
        is_vector = given.get("input_type") == "vector"
        return EmbeddingsBody(self._read_input(root["input"], body, is_vector=is_vector), given)

    def _read_input(self, value: Any, body: Buffer, *, is_vector: bool) -> FloatArray | TextInput:
        if isinstance(value, str):
            return _texts([value])
        if not isinstance(value, simdjson.Array):
            raise _wrong_type(f"texts or vectors, got {kind(value)}")
        if len(value) and isinstance(value[0], str):
            return _texts(value.as_list())
        if is_vector or not _holds_integers_only(value):
            return self._vectors(value, body)
        return _tokens(value.as_list())

    def _vectors(self, value: simdjson.Array, body: Buffer) -> FloatArray:
        nested = read_nested(value, max_rows=self._max_rows, pointer=_INPUT)
        check_regular(body, [nested])
        if nested.array.ndim > 2:
            raise _wrong_type("a vector or a list of vectors, got lists nested deeper")
        return np.atleast_2d(nested.array)


def _base64(row: FloatArray) -> str:
    return b2a_base64(row.data, newline=False).decode("ascii")


def _scalar(value: Any, name: str) -> Any:
    if type(value) in (simdjson.Array, simdjson.Object):
        raise Unacceptable(
            "wrong_type",
            f"expected a single value for {name}, got {kind(value)}",
            pointer=f"/{name}",
        )
    return value


def _holds_integers_only(value: simdjson.Array) -> bool:
    """Whether every number below is an integer; stops at the first that is not."""
    try:
        value.as_buffer(of_type="i")
    except (TypeError, ValueError):
        return False
    return True


def _texts(texts: list[Any]) -> list[str]:
    _check_count(len(texts))
    if any(type(text) is not str for text in texts):
        raise _wrong_type("texts only where the first input is one")
    if "" in texts:
        raise _empty()
    return texts


def _tokens(numbers: list[Any]) -> list[list[int]]:
    """Lists of tokens; one list alone is one input."""
    lists = numbers if numbers and type(numbers[0]) is list else [numbers]
    _check_count(len(lists))
    if [] in lists:
        raise _empty()
    for tokens in lists:
        if type(tokens) is not list or any(type(token) is not int for token in tokens):
            raise _wrong_type("a list of tokens or a list of such lists, got them mixed or deeper")
    return lists


def _check_count(count: int) -> None:
    if count > MAX_TEXTS:
        raise Unacceptable(
            "out_of_range",
            f"expected at most {MAX_TEXTS} texts, got {count}; split the batch",
            pointer=_INPUT,
        )


def _empty() -> Unacceptable:
    return Unacceptable(
        "empty_input", "expected no empty input, got one; leave it out", pointer=_INPUT
    )


def _wrong_type(expected: str) -> Unacceptable:
    return Unacceptable("wrong_type", f"expected {expected}", pointer=_INPUT)
