"""Arrays as `{"shape", "dtype", "data"}`: base64 of the values, little-endian, row-major."""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64
from collections.abc import Mapping
from itertools import islice
from typing import Any

import simdjson

from app.codecs.dtypes import FLOAT32, FLOATS, NAMES, DType, check_dtype, to_float32, view
from app.codecs.fields import check_fields
from app.codecs.shapes import check_dimensions, check_length, check_rows
from app.errors import Unacceptable
from app.types import FloatArray, Json

_FIELDS = frozenset({"shape", "dtype", "data"})


def read_base64(
    fields: simdjson.Object,
    *,
    max_rows: int,
    pointer: str,
    allowed: Mapping[str, DType] = FLOATS,
) -> FloatArray:
    """The array that the three fields describe.

    Args:
        fields: shape, dtype and data.
        max_rows: most rows.
        pointer: where they stand in the document.
        allowed: the dtypes that it may have, by name.

    Raises:
        Malformed: `duplicate_key`.
        Unacceptable: `unknown_field`, `missing_field`, `wrong_type`, `unsupported_dtype`, the
            shape codes, `length_mismatch`, `invalid_base64`, `out_of_range`.
        TooLarge: `too_many_rows`.
    """
    # One name more than there are fields is enough to find a wrong one.
    names = list(islice(fields, len(_FIELDS) + 1))
    check_fields(names, _FIELDS, pointer=pointer)
    if len(names) < len(_FIELDS):
        raise Unacceptable(
            "missing_field", f"expected the fields {', '.join(sorted(_FIELDS))}", pointer=pointer
        )
    name = _typed(fields["dtype"], str, f"{pointer}/dtype")
    dtype = check_dtype(NAMES.get(name), pointer=f"{pointer}/dtype", allowed=allowed)
    sizes = _typed(fields["shape"], simdjson.Array, f"{pointer}/shape")
    shape = check_dimensions(sizes, pointer=f"{pointer}/shape")
    check_rows(shape, max_rows=max_rows, pointer=f"{pointer}/shape")
    text = _typed(fields["data"], str, f"{pointer}/data")
    # Before decoding: exact for well-formed text, and other text is refused by the decoder.
    num_bytes = len(text) // 4 * 3 - text.count("=", -2)
    check_length(num_bytes, shape, dtype.stored.itemsize, pointer=pointer)
    octets = _decode(text, f"{pointer}/data")
    return to_float32(view(octets, 0, dtype, shape), dtype, pointer=pointer)


def write_base64(array: FloatArray) -> Json:
    """The three fields for an array."""
    data = b2a_base64(array.astype(FLOAT32.stored, order="C", copy=False).data, newline=False)
    return {"shape": array.shape, "dtype": FLOAT32.name, "data": data.decode("ascii")}


def _typed(value: Any, wanted: type, pointer: str) -> Any:
    if type(value) is not wanted:
        what = "a string" if wanted is str else "a list"
        raise Unacceptable("wrong_type", f"expected {what}, got another kind", pointer=pointer)
    return value


def _decode(text: str, pointer: str) -> bytes:
    try:
        return a2b_base64(text, strict_mode=True)
    except ValueError:
        raise Unacceptable(
            "invalid_base64",
            "expected base64 of the standard alphabet with padding and no line breaks (RFC 4648), "
            "got other characters or padding",
            pointer=pointer,
        ) from None
