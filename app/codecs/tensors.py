"""The safetensors form: named tensors, a strict reader, a writer whose bytes never vary.

The library's reader takes duplicate names (the last wins) and any number of tensors, and its
writer puts metadata in an order that changes from call to call.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.codecs.codec import Buffer
from app.codecs.dtypes import NUMPY, SAFETENSORS, DType, view, widen
from app.codecs.shapes import Shape, check_dimensions, check_length
from app.codecs.strict_json import parse_object
from app.errors import ArtifactInvalid, SlimvecError, Unacceptable
from app.types import NamedArrays

_METADATA = "__metadata__"
_LENGTH = struct.Struct("<Q")
# What kernels want; the form itself asks for half of it.
_ALIGNMENT = 16
REMEMBERED_BYTES = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much header a reader takes."""

    header_bytes: int
    tensors: int


REQUEST_LIMITS = Limits(header_bytes=64 << 10, tensors=16)
FILE_LIMITS = Limits(header_bytes=1 << 20, tensors=4096)


@dataclass(frozen=True, slots=True)
class Tensor:
    """One entry of the header: the values begin at `offset` of the whole body."""

    dtype: DType
    shape: Shape
    offset: int


@dataclass(frozen=True, slots=True)
class _Header:
    """A header understood: where each tensor lies, and where the last one ends."""

    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str]
    end: int


def pack(arrays: NamedArrays, metadata: Mapping[str, str]) -> bytes:
    """A safetensors file; the same arrays and metadata always give the same bytes.

    Tensors lie in the order of falling item size, then name, so that each is aligned; the first
    begins at a multiple of 16 bytes.
    """
    stored = {name: _stored(array) for name, array in arrays.items()}
    names = sorted(stored, key=lambda name: (-stored[name].itemsize, name))
    parts = tuple((name, stored[name].dtype, stored[name].shape) for name in names)
    header = write_header(parts, tuple(sorted(metadata.items())))
    return b"".join((header, *(stored[name].data for name in names)))


# Answers and batches come in a few shapes, again and again: a header is written and read once.
@lru_cache(maxsize=256)
def write_header(
    parts: tuple[tuple[str, np.dtype[Any], Shape], ...], metadata: tuple[tuple[str, str], ...]
) -> bytes:
    """What stands before the values of these tensors, which follow in this order."""
    header: dict[str, Any] = {_METADATA: dict(metadata)} if metadata else {}
    end = 0
    for name, dtype, shape in parts:
        begin = end
        end += math.prod(shape) * dtype.itemsize
        header[name] = {
            "dtype": NUMPY[dtype].safetensors,
            "shape": shape,
            "data_offsets": [begin, end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(_LENGTH.size + len(text)) % _ALIGNMENT)
    return _LENGTH.pack(len(text)) + text


def unpack(
    data: Buffer, *, limits: Limits = FILE_LIMITS
) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """The arrays and the metadata of a whole file; float16 and bfloat16 become float32.

    The arrays may be read-only views of `data`.

    Raises:
        ArtifactInvalid: damaged, or not of this form.
    """
    try:
        tensors, metadata = read_header(data, limits=limits)
    except SlimvecError as error:
        raise ArtifactInvalid(f"not a safetensors file that can be used: {error.detail}") from None
    arrays = {name: _values(data, tensor) for name, tensor in tensors.items()}
    return arrays, dict(metadata)


def read_header(data: Buffer, *, limits: Limits) -> tuple[Mapping[str, Tensor], Mapping[str, str]]:
    """The tensors by name, in the order of their values, and the metadata.

    Every value belongs to exactly one tensor: no hole, no overlap, no byte left over.

    Raises:
        Unacceptable: `malformed_safetensors`, `unsupported_dtype`, the shape codes,
            `length_mismatch`.
    """
    return understand_header(header_text(data, limits), limits, len(data))


def understand_header(
    text: bytes, limits: Limits, num_bytes: int
) -> tuple[Mapping[str, Tensor], Mapping[str, str]]:
    """What the header of a body of so many bytes says; see `read_header`."""
    header = (_read_once if len(text) <= REMEMBERED_BYTES else _read)(text, limits)
    if header.end != num_bytes:
        values_at = _LENGTH.size + len(text)
        raise Unacceptable(
            "length_mismatch",
            f"expected {header.end - values_at} bytes of values, got {num_bytes - values_at}",
        )
    return header.tensors, header.metadata


def header_text(data: Buffer, limits: Limits) -> bytes:
    """The JSON of a header, not yet looked at.

    Raises:
        Unacceptable: `malformed_safetensors`.
    """
    if len(data) < _LENGTH.size:
        raise _malformed("fewer than 8 bytes")
    (length,) = _LENGTH.unpack_from(data)
    if length > limits.header_bytes or length > len(data) - _LENGTH.size:
        raise _malformed(f"a header beyond the file or {limits.header_bytes} bytes")
    return bytes(data[_LENGTH.size : _LENGTH.size + length])


def _read(text: bytes, limits: Limits) -> _Header:
    try:
        entries = parse_object(text)
    except SlimvecError:
        raise _malformed("a header that is no JSON object with every name once") from None
    metadata = entries.pop(_METADATA, {})
    if not _is_text_map(metadata):
        raise _malformed("metadata that is not text by name")
    if len(entries) > limits.tensors:
        raise _malformed(f"more than {limits.tensors} tensors")
    spans = sorted((_span(entry), name) for name, entry in entries.items())
    values_at = _LENGTH.size + len(text)
    end, tensors = 0, {}
    for (begin, stop), name in spans:
        if begin != end:
            raise _malformed("tensors that overlap or leave a hole")
        tensors[name] = _tensor(entries[name], stop - begin, values_at + begin)
        end = stop
    return _Header(MappingProxyType(tensors), MappingProxyType(metadata), values_at + end)


_read_once = lru_cache(maxsize=256)(_read)


def _span(entry: Any) -> tuple[int, int]:
    """Where the values of a header entry begin and end."""
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise _malformed("an entry without exactly dtype, shape and data_offsets")
    offsets = entry["data_offsets"]
    if not isinstance(offsets, list) or [type(offset) for offset in offsets] != [int, int]:
        raise _malformed("data_offsets that are not two integers")
    begin, end = offsets
    if not 0 <= begin <= end:
        raise _malformed("data_offsets out of order")
    return begin, end


def _tensor(entry: dict[str, Any], num_bytes: int, offset: int) -> Tensor:
    name = entry["dtype"]
    dtype = SAFETENSORS.get(name) if isinstance(name, str) else None
    if dtype is None:
        raise Unacceptable(
            "unsupported_dtype", f"expected dtype {', '.join(SAFETENSORS)}, got another"
        )
    if not isinstance(entry["shape"], list):
        raise _malformed("a shape that is no list")
    shape = check_dimensions(entry["shape"], pointer="")
    check_length(num_bytes, shape, dtype.stored.itemsize, pointer="")
    return Tensor(dtype, shape, offset)


def _values(data: Buffer, tensor: Tensor) -> NDArray[Any]:
    values = view(data, tensor.offset, tensor.dtype, tensor.shape)
    if values.dtype == np.bool_ and np.any(values.view(np.uint8) > 1):
        raise ArtifactInvalid("expected booleans of one byte 0 or 1, got another byte")
    return widen(values, tensor.dtype)


def _stored(array: NDArray[Any]) -> NDArray[Any]:
    little = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
    assert little.dtype in NUMPY, f"dtype {array.dtype} has no place in our files"
    return little


def _is_text_map(metadata: Any) -> bool:
    return isinstance(metadata, dict) and all(isinstance(text, str) for text in metadata.values())


def _malformed(found: str) -> Unacceptable:
    return Unacceptable(
        "malformed_safetensors", f"expected a whole safetensors file, got {found}; write it again"
    )
