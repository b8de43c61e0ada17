"""numpy to bodies and back: safetensors both ways."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import TypeAdapter

from app.client.actions import Answer
from app.client.refusals import not_understood
from app.codecs import pack, unpack
from app.codecs.dtypes import FLOAT64, to_float32
from app.errors import SlimvecError, Unacceptable
from app.types import (
    WHOLE_FIELDS,
    AlignedBy,
    Alignment,
    Batch,
    Derivative,
    FloatArray,
    Reduced,
    Stamp,
)

SAFETENSORS = "application/x-safetensors"

BatchLike: TypeAlias = Batch | ArrayLike
Single: TypeAlias = Batch | NDArray[Any]  # what is one batch, and not several
Fields: TypeAlias = Mapping[str, ArrayLike | None]

_LENGTH = struct.Struct("<I")
_NUMBERS = "fiub"  # numpy's kinds: floats, integers, booleans
_WHOLE = "iub"
_ALIGNED_BY: TypeAdapter[AlignedBy] = TypeAdapter(AlignedBy)
_AS_THEY_ARE = (np.dtype(np.float16), np.dtype(np.float32))


def fields_of(batch: BatchLike) -> Fields:
    """The arrays of a batch by name; an array alone is its hidden_states."""
    return dict(batch.arrays()) if isinstance(batch, Batch) else {"hidden_states": batch}


def pack_fields(fields: Fields, metadata: Mapping[str, str] | None = None) -> bytes:
    """One safetensors body; what is None is left out.

    Raises:
        Unacceptable: something is no array of numbers within float32.
    """
    arrays = {name: _floats(value, name) for name, value in fields.items() if value is not None}
    return pack(arrays, metadata or {})


def pack_frame(batch: BatchLike, key: str | None = None) -> bytes:
    """A batch as one record of a stream."""
    body = pack_fields(fields_of(batch), None if key is None else {"key": key})
    return _LENGTH.pack(len(body)) + body


def read_reduced(answer: Answer) -> Reduced:
    """The reduced vectors, in an array of the caller's own, with their stamp.

    Raises:
        NotUnderstood: they are not there.
    """
    (reduced,), stamp = _stamped(answer, "reduced")
    return Reduced(reduced, stamp)


def read_derivative(answer: Answer) -> Derivative:
    """The reduced vectors and their derivatives, with their stamp.

    Raises:
        NotUnderstood: they are not there.
    """
    (reduced, derivative), stamp = _stamped(answer, "reduced", "derivative")
    return Derivative(reduced, derivative, stamp)


def read_alignment(answer: Answer) -> Alignment:
    """The map between two versions, in an array of the caller's own, with all that is told of it.

    Raises:
        NotUnderstood: it is not there.
    """
    try:
        arrays, told = unpack(answer.body)
        return Alignment(
            rotation=arrays["rotation"].astype(np.float32),
            stamp=Stamp(told["model"], int(told["version"]), told["digest"]),
            to=Stamp(told["model"], int(told["to"]), told["to_digest"]),
            aligned_by=_ALIGNED_BY.validate_python(told["aligned_by"]),
            vectors=int(told["vectors"]),
            queries=int(told["queries"]),
            cosine=float(told["cosine"]),
            cosine_aligned=float(told["cosine_aligned"]),
            nn10=float(told["nn10"]),
            nn10_aligned=float(told["nn10_aligned"]),
            nn10_own=float(told["nn10_own"]),
        )
    except (SlimvecError, KeyError, ValueError):  # pydantic's error is one of the last
        raise not_understood("another body than a map between two versions") from None


def _stamped(answer: Answer, *names: str) -> tuple[list[FloatArray], Stamp]:
    try:
        arrays, metadata = unpack(answer.body)
        stamp = Stamp(metadata["model"], int(metadata["version"]), metadata["digest"])
        return [arrays[name].astype(np.float32) for name in names], stamp
    except (SlimvecError, KeyError, ValueError):
        wanted = " and ".join(names)
        raise not_understood(f"another body than stamped arrays {wanted}") from None


def _floats(values: ArrayLike, name: str) -> NDArray[Any]:
    pointer = f"/{name}"
    try:
        array = np.asarray(values)
    except ValueError:  # rows of several lengths
        array = np.asarray(None)
    if array.dtype in _AS_THEY_ARE:
        return array
    if name in WHOLE_FIELDS and array.dtype.kind in _WHOLE:
        return array.astype(np.int64)  # the server refuses those that it could not hold
    if array.dtype.kind not in _NUMBERS:
        raise Unacceptable(
            "wrong_type",
            f"expected {name} to be an array of numbers, all rows of one length, got another "
            "kind; convert it with numpy.asarray",
            pointer=pointer,
        )
    return to_float32(array.astype(np.float64, copy=False), FLOAT64, pointer=pointer)
