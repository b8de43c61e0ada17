"""Nested lists of numbers in a parsed JSON document: their shape, their regularity, their values.

Note [Regular by counting]
`as_buffer` refuses other kinds than numbers, but flattens every list that it finds, so
`[[1, 2], [3]]` and `[[1, 2], [3, [4]]]` pass through it. Looking at every element would cost more
than parsing. Instead the length of every list above the numbers is compared with the first one's,
and the `[` of the body are counted: when there are exactly as many as regular lists have, no
number can be hiding in a list of its own. Only a body with other `[` (in an option, in a string)
is looked at element by element.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import chain, islice
from math import prod
from typing import Any, cast

import numpy as np
import simdjson
from numpy.typing import NDArray

from app.codecs.codec import Buffer
from app.codecs.dtypes import FLOAT64, to_float32
from app.codecs.shapes import MAX_DIMENSIONS, Shape, check_rows, empty_batch, too_many_dimensions
from app.errors import SlimvecError, TooLarge, Unacceptable
from app.types import FloatArray

_OPEN = ord("[")
_FAR_APART = 1024
# simdjson stops counting the elements of a list here.
_MAX_COUNT = 0xFFFFFF
# Where a fault is, is worth this much work and no more.
_SEARCHED = 4096
_KINDS: dict[type, str] = {
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "a string",
    simdjson.Array: "a list",
    simdjson.Object: "an object",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NestedLists:
    """A list of the document and the array that it is, once `check_regular` agrees."""

    root: simdjson.Array
    array: FloatArray
    pointer: str


def read_nested(root: simdjson.Array, *, max_rows: int, pointer: str) -> NestedLists:
    """The numbers in the shape that the first elements announce, float64 rounded to float32.

    Raises:
        Unacceptable: `empty_batch`, `too_many_dimensions`, `ragged_rows`, `wrong_type`,
            `out_of_range`.
        TooLarge: `too_many_rows`, before a row is looked at.
    """
    shape = _announced_shape(root, pointer)
    check_rows(shape, max_rows=max_rows, pointer=pointer)
    numbers = _flattened(root)
    if numbers is None:
        raise _first_misfit(root, shape, pointer) or _wrong_type("numbers", "another kind", pointer)
    if numbers.size != prod(shape) or not _lengths_agree(root, shape):
        raise _first_misfit(root, shape, pointer) or _ragged(
            "rows of one length", "another further on", pointer
        )
    array = to_float32(numbers.reshape(shape), FLOAT64, pointer=pointer)
    return NestedLists(root=root, array=array, pointer=pointer)


def read_whole(root: simdjson.Array, *, max_rows: int, pointer: str) -> NestedLists:
    """The same, or all of them booleans: 1 for true, 0 for false.

    Raises:
        Unacceptable, TooLarge: as `read_nested`.
    """
    shape = _announced_shape(root, pointer)
    check_rows(shape, max_rows=max_rows, pointer=pointer)
    first = next(iter(_members(root, len(shape))))
    may_be = type(first) is bool and _lengths_agree(root, shape)
    values = list(_members(root, len(shape))) if may_be else []
    if set(map(type, values)) != {bool}:
        return read_nested(root, max_rows=max_rows, pointer=pointer)
    array = np.array(values, np.float32).reshape(shape)
    return NestedLists(root=root, array=array, pointer=pointer)


def check_regular(body: Buffer, nested: Collection[NestedLists], *, num_others: int = 0) -> None:
    """Refuse a list among the numbers; see Note [Regular by counting].

    Args:
        body: the document.
        nested: what was read of it.
        num_others: other lists that it is known to hold.

    Raises:
        Unacceptable: `ragged_rows`.
    """
    shapes = [lists.array.shape for lists in nested]
    num_lists = num_others + sum(
        prod(shape[:depth]) for shape in shapes for depth in range(len(shape))
    )
    if _holds(body, num_lists):
        return
    for lists in nested:
        shape = lists.array.shape
        for index, row in enumerate(_members(lists.root, len(shape) - 1)):
            if simdjson.Array in map(type, row):
                where = _at(lists.pointer, index, shape[:-1])
                raise _ragged("a number", "a list", where)


def kind(value: Any) -> str:
    """What a JSON value is, in words, without its content."""
    return "null" if value is None else _KINDS[type(value)]


def _holds(body: Buffer, num_lists: int) -> bool:
    """Whether the body has exactly so many `[`."""
    if isinstance(body, memoryview) or num_lists > len(body) // _FAR_APART:
        return bool(np.count_nonzero(np.frombuffer(body, np.uint8) == _OPEN) == num_lists)
    # From one to the next is several times faster than to look at each byte, where they are few.
    place = -1
    for _ in range(num_lists):
        place = body.find(_OPEN, place + 1)
        if place < 0:
            return False
    return body.find(_OPEN, place + 1) < 0


def _announced_shape(root: simdjson.Array, pointer: str) -> Shape:
    shape: list[int] = []
    value: Any = root
    while type(value) is simdjson.Array:
        if len(shape) == MAX_DIMENSIONS:
            raise too_many_dimensions(pointer)
        if not len(value):
            raise empty_batch(pointer)
        if len(value) == _MAX_COUNT:
            raise TooLarge(
                "too_many_rows",
                f"expected lists of fewer than {_MAX_COUNT} elements; split the batch",
                pointer=pointer,
            )
        shape.append(len(value))
        value = value[0]
    return tuple(shape)


def _flattened(root: simdjson.Array) -> NDArray[np.float64] | None:
    """Every number below the root; None when anything is neither number nor list."""
    try:
        return np.frombuffer(root.as_buffer(of_type="d"), np.float64)
    except TypeError:
        return None


def _members(root: simdjson.Array, depth: int) -> Iterable[Any]:
    """What lies `depth` levels below the root, in order, one at a time."""
    members: Iterable[Any] = (root,)
    for _ in range(depth):
        members = chain.from_iterable(members)
    return members


def _lengths_agree(root: simdjson.Array, shape: Shape) -> bool:
    """Whether every list above the numbers is as long as the first of its level."""
    try:
        return all(
            set(map(len, _members(root, depth))) == {length}
            for depth, length in enumerate(shape[1:], start=1)
        )
    except TypeError:  # a number has no length
        return False


def _first_misfit(root: simdjson.Array, shape: Shape, pointer: str) -> SlimvecError | None:
    """The refusal of the first member that does not fit, when it comes soon enough."""
    for depth, length in enumerate(shape[1:], start=1):
        for index, member in enumerate(islice(_members(root, depth), _SEARCHED)):
            if type(member) is not simdjson.Array or len(member) != length:
                return _misfit(member, f"a list of {length}", _at(pointer, index, shape[:depth]))
    for index, value in enumerate(islice(_members(root, len(shape)), _SEARCHED)):
        if type(value) not in (int, float):
            return _misfit(value, "a number", _at(pointer, index, shape))
    return None


def _misfit(member: Any, expected: str, pointer: str) -> SlimvecError:
    if type(member) is simdjson.Array:
        return _ragged(expected, f"a list of {len(member)}", pointer)
    if type(member) in (int, float):
        return _ragged(expected, "a number", pointer)
    return _wrong_type(expected, kind(member), pointer)


def _ragged(expected: str, got: str, pointer: str) -> SlimvecError:
    return Unacceptable(
        "ragged_rows",
        f"expected {expected}, got {got}; send rows of one length, nested equally deep",
        pointer=pointer,
    )


def _wrong_type(expected: str, got: str, pointer: str) -> SlimvecError:
    return Unacceptable(
        "wrong_type", f"expected {expected}, got {got}; send JSON numbers", pointer=pointer
    )


def _at(pointer: str, index: int, shape: Shape) -> str:
    """The JSON pointer of a member, from its place in row-major order."""
    place = cast(tuple[int, ...], np.unravel_index(index, shape))
    return pointer + "".join(f"/{i}" for i in place)
