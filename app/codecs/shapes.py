"""Shapes that a body declares, checked with unbounded integers before anything is allocated."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from app.errors import TooLarge, Unacceptable

MAX_DIMENSIONS = 8
_LARGEST_ITEMSIZE = 8
_MAX_ELEMENTS = (2**63 - 1) // _LARGEST_ITEMSIZE

Shape = tuple[int, ...]


def check_dimensions(sizes: Sequence[Any], *, pointer: str) -> Shape:
    """The declared sizes as a shape that can be counted in bytes with 63 bits.

    Zero sizes do not hide an overflow: `[0, 2**63 - 1]` is refused too.

    Raises:
        Unacceptable: `too_many_dimensions`, `wrong_type`, `shape_overflow`.
    """
    if len(sizes) > MAX_DIMENSIONS:
        raise too_many_dimensions(pointer)
    if any(type(size) is not int or size < 0 for size in sizes):
        raise Unacceptable(
            "wrong_type",
            "expected a shape of non-negative integers, got another number or kind; "
            "send the size of each dimension",
            pointer=pointer,
        )
    if prod(size for size in sizes if size) > _MAX_ELEMENTS:
        raise Unacceptable(
            "shape_overflow",
            f"expected at most {_MAX_ELEMENTS} elements, got a shape of more; "
            "send the shape of the values that follow",
            pointer=pointer,
        )
    return tuple(sizes)


def check_rows(shape: Shape, *, max_rows: int, pointer: str) -> None:
    """Refuse a shape without rows, or with too many; the last dimension is the row.

    Raises:
        Unacceptable: `wrong_type` for a scalar, `empty_batch`.
        TooLarge: `too_many_rows`.
    """
    if not shape:
        raise Unacceptable(
            "wrong_type",
            "expected at least one dimension, got a single number; send a vector or rows of them",
            pointer=pointer,
        )
    if 0 in shape:
        raise empty_batch(pointer)
    if (num_rows := prod(shape[:-1])) > max_rows:
        raise TooLarge(
            "too_many_rows",
            f"expected at most {max_rows} rows, got {num_rows}; split the batch",
            pointer=pointer,
        )


def check_length(num_bytes: int, shape: Shape, itemsize: int, *, pointer: str) -> None:
    """Refuse values whose number of bytes is not `shape * itemsize`.

    Raises:
        Unacceptable: `length_mismatch`.
    """
    if num_bytes != (expected := prod(shape) * itemsize):
        raise Unacceptable(
            "length_mismatch",
            f"expected {expected} bytes for that shape and dtype, got {num_bytes}; "
            "send the shape and dtype of the values",
            pointer=pointer,
        )


def too_many_dimensions(pointer: str) -> Unacceptable:
    """The refusal of more than `MAX_DIMENSIONS`."""
    return Unacceptable(
        "too_many_dimensions",
        f"expected at most {MAX_DIMENSIONS} dimensions, got more; merge the leading ones",
        pointer=pointer,
    )


def empty_batch(pointer: str) -> Unacceptable:
    """The refusal of an array without elements."""
    return Unacceptable(
        "empty_batch", "expected at least one number a row and one row, got none", pointer=pointer
    )
