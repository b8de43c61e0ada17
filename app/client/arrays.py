"""numpy to bodies and back: safetensors both ways."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from app.client.actions import Answer
from app.client.refusals import not_understood
from app.codecs import pack, unpack
from app.codecs.dtypes import FLOAT64, to_float32
from app.errors import SlimvecError, Unacceptable
from app.types import Batch, Reduced, Stamp

SAFETENSORS = "application/x-safetensors"

BatchLike: TypeAlias = Batch | ArrayLike
Fields: TypeAlias = Mapping[str, ArrayLike | None]

_LENGTH = struct.Struct("<I")
_NUMBERS = "fiub"  # numpy's kinds: floats, integers, booleans
_AS_THEY_ARE = (np.dtype(np.float16), np.dtype(np.float32))


def fields_of(batch: BatchLike) -> Fields:
    """The arrays of a batch by name; an array alone is its hidden_states."""
    if not isinstance(batch, Batch):
        return {"hidden_states": batch}
    return {
        "hidden_states": batch.hidden_states,
        "targets": batch.targets,
        "sample_weights": batch.sample_weights,
    }


def pack_fields(fields: Fields, metadata: Mapping[str, str] | None = None) -> bytes:
    """One safetensors body; what is None is left out.

    Raises:
        Unacceptable: something is no array of numbers within float32.
    """
    arrays = {name: _floats(value, name) for name, value in fields.items() if value is not None}
    return pack(arrays, metadata or {})


def pack_frame(batch: BatchLike, key: str) -> bytes:
    """A batch as one record of a training stream."""
    body = pack_fields(fields_of(batch), {"key": key})
    return _LENGTH.pack(len(body)) + body


def read_reduced(answer: Answer) -> Reduced:
    """The reduced vectors, in an array of the caller's own, with their stamp.

    Raises:
        NotUnderstood: they are not there.
    """
    try:
        arrays, metadata = unpack(answer.body)
        stamp = Stamp(metadata["model"], int(metadata["version"]), metadata["digest"])
        return Reduced(arrays["reduced"].astype(np.float32), stamp)
    except (SlimvecError, KeyError, ValueError):
        raise not_understood("another body than stamped reduced vectors") from None


def _floats(values: ArrayLike, name: str) -> NDArray[Any]:
    pointer = f"/{name}"
    try:
        array = np.asarray(values)
    except ValueError:  # rows of several lengths
        array = np.asarray(None)
    if array.dtype in _AS_THEY_ARE:
        return array
    if array.dtype.kind not in _NUMBERS:
        raise Unacceptable(
            "wrong_type",
            f"expected {name} to be an array of numbers, all rows of one length, got another "
            "kind; convert it with numpy.asarray",
            pointer=pointer,
        )
    return to_float32(array.astype(np.float64, copy=False), FLOAT64, pointer=pointer)
