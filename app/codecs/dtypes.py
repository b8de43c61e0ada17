"""The one table of dtypes: their names in each format, their bytes, their way to float32."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from app.codecs.codec import BodySchema, Buffer
from app.codecs.shapes import Shape
from app.errors import Unacceptable
from app.types import FloatArray


@dataclass(frozen=True, slots=True)
class DType:
    """A dtype: its `name` in JSON, in safetensors, in the Open Inference Protocol; its bytes."""

    name: str
    safetensors: str
    datatype: str
    stored: np.dtype[Any]


FLOAT32 = DType("float32", "F32", "FP32", np.dtype("<f4"))
FLOAT16 = DType("float16", "F16", "FP16", np.dtype("<f2"))
# numpy has no bfloat16: its bits are the upper half of a float32's.
BFLOAT16 = DType("bfloat16", "BF16", "BF16", np.dtype("<u2"))
FLOAT64 = DType("float64", "F64", "FP64", np.dtype("<f8"))
_FLOATS = (FLOAT32, FLOAT16, BFLOAT16, FLOAT64)
INT64 = DType("int64", "I64", "INT64", np.dtype("<i8"))
_INTEGERS = (INT64, DType("int32", "I32", "INT32", np.dtype("<i4")))
_OTHERS = (
    *_INTEGERS,
    DType("uint8", "U8", "UINT8", np.dtype("|u1")),
    DType("bool", "BOOL", "BOOL", np.dtype("|b1")),
)

FLOATS: Mapping[str, DType] = {dtype.name: dtype for dtype in _FLOATS}
IDS: Mapping[str, DType] = {dtype.name: dtype for dtype in _FLOATS + _INTEGERS}
NAMES: Mapping[str, DType] = {dtype.name: dtype for dtype in _FLOATS + _OTHERS}
SAFETENSORS: Mapping[str, DType] = {dtype.safetensors: dtype for dtype in _FLOATS + _OTHERS}
DATATYPES: Mapping[str, DType] = {dtype.datatype: dtype for dtype in _FLOATS + _OTHERS}
NUMPY: Mapping[np.dtype[Any], DType] = {
    dtype.stored: dtype for dtype in _FLOATS + _OTHERS if dtype is not BFLOAT16
}


# The largest of which float32 holds every one below.
_MOST_WHOLE = 1 << 24


def allowed_dtypes(schema: BodySchema, field: str) -> Mapping[str, DType]:
    """What an array of this field may be, by name."""
    if field in schema.whole:
        return NAMES
    return IDS if field in schema.ids else FLOATS


def check_dtype(
    dtype: DType | None, *, pointer: str, allowed: Mapping[str, DType] = FLOATS
) -> DType:
    """The dtype itself, when it is one of those that are allowed.

    Raises:
        Unacceptable: `unsupported_dtype`.
    """
    if dtype is None or dtype.name not in allowed:
        raise Unacceptable(
            "unsupported_dtype",
            f"expected dtype {', '.join(allowed)} (little-endian), got another; convert the array",
            pointer=pointer,
        )
    return dtype


def view(
    body: Buffer, offset: int, dtype: DType, shape: Shape, *, order: Literal["C", "F"] = "C"
) -> NDArray[Any]:
    """The stored values, without a copy where the memory is aligned; C-contiguous.

    The caller has checked that the body holds them.
    """
    array: NDArray[Any] = np.ndarray(shape, dtype.stored, body, offset, order=order)
    return array if array.flags.aligned and array.flags.c_contiguous else array.copy(order="C")


def widen(array: NDArray[Any], dtype: DType) -> NDArray[Any]:
    """Half-width floats as float32, exactly; every other dtype as it is."""
    if dtype is BFLOAT16:
        return (array.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return array.astype(np.float32) if dtype is FLOAT16 else array


def to_float32(array: NDArray[Any], dtype: DType, *, pointer: str) -> FloatArray:
    """The same values in float32; NaN and infinities stay what they are.

    float64 is rounded to nearest; a finite value that would become infinite is refused, and so is
    a whole number that float32 would round.

    Raises:
        Unacceptable: `out_of_range`.
    """
    array = widen(array, dtype)
    if array.dtype.kind == "i":
        _check_whole(array, pointer)
    if dtype is not FLOAT64:
        return array.astype(np.float32, copy=False)
    # A signalling NaN becomes a quiet one: worth no warning.
    with np.errstate(over="raise", invalid="ignore"):
        try:
            return array.astype(np.float32, copy=False)
        except FloatingPointError:
            pass
    raise _out_of_range(array, pointer)


def _check_whole(array: NDArray[Any], pointer: str) -> None:
    is_exact = (array >= -_MOST_WHOLE) & (array <= _MOST_WHOLE)
    if is_exact.all():
        return
    index = np.unravel_index(int(np.argmin(is_exact)), array.shape)
    raise Unacceptable(
        "out_of_range",
        f"expected whole numbers of magnitude up to {_MOST_WHOLE}, got a larger one; number them "
        "anew",
        pointer=pointer + "".join(f"/{i}" for i in index),
    )


def _out_of_range(array: NDArray[Any], pointer: str) -> Unacceptable:
    with np.errstate(over="ignore", invalid="ignore"):
        overflows = np.isfinite(array) & ~np.isfinite(array.astype(np.float32))
    index = np.unravel_index(int(overflows.argmax()), array.shape)
    return Unacceptable(
        "out_of_range",
        "expected numbers within float32 (magnitude up to 3.4028235e38), got a larger one; "
        "scale the vectors",
        pointer=pointer + "".join(f"/{i}" for i in index),
    )
