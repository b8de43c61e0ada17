"""Parsers of JSON: a document parsed without making Python objects of its numbers."""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Callable
from typing import Any, TypeVar

import simdjson

from app.codecs.codec import Buffer
from app.codecs.fields import empty_body
from app.codecs.strict_json import (
    malformed_json,
    not_an_object,
    too_deep,
    with_floats_for_big_integers,
)
from app.errors import Malformed

T = TypeVar("T")

# A fresh parser for a large body costs thousands of page faults (a third of such a request); a kept
# one holds several times the bytes of its largest body, so few are kept.
_IDLE_PARSERS = 2
_MAX_KEYS = 64


class Parsers:
    """Parsers that are kept from one body to the next; any thread may use them."""

    def __init__(self) -> None:
        # A parser serves one thread at a time and refuses work while anything that it parsed is
        # alive. So each call takes one and gives it back only after a success: what a raised
        # error holds on to is never in the way. list.pop and list.append are atomic.
        self._idle: list[simdjson.Parser] = []

    def read(self, body: Buffer, read: Callable[[Any], T]) -> T:
        """What `read` makes of the document's root; nothing of the document may outlive it.

        Raises:
            Malformed: `empty_body`, or `malformed_json`: it is not strict JSON.
            Unacceptable: a number that no float64 holds.
        """
        if not len(body):
            raise empty_body("application/json")
        if bytes(body[: len(BOM_UTF8)]) == BOM_UTF8:
            raise malformed_json(0)
        try:
            parser = self._idle.pop()
        except IndexError:
            parser = simdjson.Parser()
        made = read(_parse(parser, body))
        if len(self._idle) < _IDLE_PARSERS:
            self._idle.append(parser)
        return made


def field_names(root: Any) -> list[str]:
    """The names of the document's fields, in order and as often as they are there.

    Raises:
        Unacceptable: the document is no object.
        Malformed: `too_many_keys`.
    """
    if type(root) is not simdjson.Object:
        raise not_an_object()
    if len(root) > _MAX_KEYS:
        raise Malformed("too_many_keys", f"expected at most {_MAX_KEYS} fields, got {len(root)}")
    return list(root)


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
