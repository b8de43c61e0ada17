"""Tensors of the Open Inference Protocol: in the JSON, behind it, or the whole body."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np
import simdjson

from app.codecs.codec import Buffer
from app.codecs.dtypes import (
    BFLOAT16,
    DATATYPES,
    FLOAT16,
    FLOAT32,
    FLOATS,
    IDS,
    INT64,
    DType,
    to_float32,
    view,
)
from app.codecs.inference_document import parameters_of, typed
from app.codecs.nested import check_regular, read_nested
from app.codecs.shapes import Shape, check_dimensions, check_length, check_rows
from app.errors import Unacceptable
from app.types import FloatArray

_POINTER = "/inputs/0"
_DATA = f"{_POINTER}/data"
_SIZE = "binary_data_size"
_NEVER_IN_JSON = (FLOAT16, BFLOAT16)
# Named in a refusal: they are the protocol's words, and not only the request's.
_OTHERS = frozenset(
    ("BOOL", "BYTES", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredTensor:
    """An entry of `inputs`: its values, or how many bytes behind the JSON part they are.

    Attributes:
        array: the values, float32, where they stand in the JSON; None where they follow it.
        num_bytes: of the values that follow.
    """

    dtype: DType
    shape: Shape
    array: FloatArray | None = None
    num_bytes: int = 0

    def values(self, body: Buffer, offset: int) -> FloatArray:
        """The values in float32; those behind the JSON part begin at `offset` of the body.

        Raises:
            Unacceptable: `length_mismatch`: the body ends before or behind them; `out_of_range`.
        """
        _check_size(self.num_bytes, len(body) - offset)
        if self.array is not None:
            return self.array
        return to_float32(view(body, offset, self.dtype, self.shape), self.dtype, pointer=_POINTER)


def input_dtype(*, takes_ids: bool) -> DType:
    """What a model is told to take: ids, where it takes those, and numbers otherwise."""
    return INT64 if takes_ids else FLOAT32


def read_raw(body: Buffer, *, input_size: int, max_rows: int, takes_ids: bool) -> FloatArray:
    """Rows of the `input_dtype` and nothing else.

    Raises:
        Unacceptable: `length_mismatch`, `out_of_range`.
        TooLarge: `too_many_rows`.
    """
    dtype = input_dtype(takes_ids=takes_ids)
    num_bytes = input_size * dtype.stored.itemsize
    num_rows, rest = divmod(len(body), num_bytes)
    if rest:
        raise Unacceptable(
            "length_mismatch",
            f"expected rows of {num_bytes} bytes ({dtype.datatype}), got {len(body)} bytes; "
            "send whole rows",
        )
    shape = (num_rows, input_size)
    _check_rows(shape, max_rows)
    return to_float32(view(body, 0, dtype, shape), dtype, pointer=_POINTER)


def read_tensor(
    fields: simdjson.Object,
    text: Buffer,
    *,
    max_rows: int,
    num_other_lists: int,
    takes_ids: bool,
) -> DeclaredTensor:
    """The tensor that an entry of `inputs` declares.

    Args:
        fields: the entry.
        text: the JSON part that it is in.
        max_rows: most rows.
        num_other_lists: lists that the JSON part holds beside `data`.
        takes_ids: whether it may be of integers.

    Raises:
        Malformed: `duplicate_key`.
        Unacceptable: `missing_field`, `wrong_type`, `unsupported_dtype`, the shape codes,
            `length_mismatch`, `ragged_rows`, `out_of_range`.
        TooLarge: `too_many_rows`.
    """
    allowed = IDS if takes_ids else FLOATS
    dtype = _dtype(typed(fields.get("datatype"), str, f"{_POINTER}/datatype"), allowed)
    at = f"{_POINTER}/shape"
    shape = check_dimensions(typed(fields.get("shape"), simdjson.Array, at), pointer=at)
    _check_rows(shape, max_rows)
    num_bytes, data = parameters_of(fields, _POINTER).get(_SIZE), fields.get("data")
    if (num_bytes is None) == (data is None):
        raise Unacceptable(
            "missing_field", f"expected either data or the parameter {_SIZE}", pointer=_POINTER
        )
    if num_bytes is not None:
        at = f"{_POINTER}/parameters/{_SIZE}"
        check_length(typed(num_bytes, int, at), shape, dtype.stored.itemsize, pointer=at)
        return DeclaredTensor(dtype=dtype, shape=shape, num_bytes=num_bytes)
    if dtype in _NEVER_IN_JSON:
        raise Unacceptable(
            "unsupported_dtype",
            f"expected {dtype.datatype} in binary, got it in JSON; send it behind the JSON part, "
            f"with {_SIZE}",
            pointer=f"{_POINTER}/datatype",
        )
    lists = typed(data, simdjson.Array, _DATA)
    array = _read_data(lists, text, shape, max_rows=max_rows, num_other_lists=num_other_lists)
    return DeclaredTensor(dtype=dtype, shape=shape, array=array)


def _dtype(name: str, allowed: Mapping[str, DType]) -> DType:
    dtype = DATATYPES.get(name)
    if dtype is None or dtype.name not in allowed:
        got = name if name in _OTHERS else "another"
        raise Unacceptable(
            "unsupported_dtype",
            f"expected the datatype {', '.join(dtype.datatype for dtype in allowed.values())}, "
            f"got {got}; convert the tensor",
            pointer=f"{_POINTER}/datatype",
        )
    return dtype


def _check_size(num_bytes: int, num_behind: int) -> None:
    """Refuse a tensor that ends elsewhere than the body does."""
    if num_bytes > num_behind:
        raise Unacceptable(
            "length_mismatch",
            f"expecting {num_bytes - num_behind} additional bytes for the tensor: "
            f"{num_behind} follow the JSON part; check Inference-Header-Content-Length",
            pointer=_POINTER,
        )
    if num_bytes < num_behind:
        raise Unacceptable(
            "length_mismatch",
            f"expected {num_bytes} bytes behind the JSON part, got {num_behind}; "
            f"say with {_SIZE} whose they are",
            pointer=_POINTER,
        )


def _read_data(
    data: simdjson.Array, text: Buffer, shape: Shape, *, max_rows: int, num_other_lists: int
) -> FloatArray:
    """The numbers of `data`, which may be flat or nested as the shape is."""
    count = prod(shape)
    if not count and not len(data):
        return np.empty(shape, np.float32)
    nested = read_nested(data, max_rows=max_rows, pointer=_DATA)
    array = nested.array
    if array.shape not in (shape, (count,)):
        raise Unacceptable(
            "length_mismatch",
            f"expected {count} numbers, flat or nested as the shape is, got shape {array.shape}",
            pointer=_DATA,
        )
    check_regular(text, [nested], num_others=num_other_lists)
    return array.reshape(shape)


def _check_rows(shape: Shape, max_rows: int) -> None:
    """As everywhere, but a tensor without rows is one, too."""
    if not shape or 0 not in shape:
        check_rows(shape, max_rows=max_rows, pointer=f"{_POINTER}/shape")
