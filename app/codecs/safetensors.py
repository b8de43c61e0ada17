"""Safetensors bodies: named tensors; options travel as query parameters."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from app.codecs.codec import CODECS, Body, BodySchema, Buffer, Encoding
from app.codecs.dtypes import FLOAT32, allowed_dtypes, check_dtype, to_float32, view
from app.codecs.fields import check_fields, empty_body
from app.codecs.shapes import Shape, check_rows
from app.codecs.tensors import (
    REMEMBERED_BYTES,
    REQUEST_LIMITS,
    Tensor,
    header_text,
    understand_header,
    write_header,
)
from app.types import FloatArray, Reduced, Stamp


class SafetensorsCodec:
    """Tensors named as the JSON fields."""

    media_type = "application/x-safetensors"

    def decode(self, body: Buffer, schema: BodySchema) -> Body:
        """The arrays; without a copy those that are aligned float32."""
        if not len(body):
            raise empty_body(self.media_type)
        text = header_text(body, REQUEST_LIMITS)
        find = _tensors_once if len(text) <= REMEMBERED_BYTES else _tensors
        tensors = find(text, schema, len(body))
        return Body({name: _array(body, name, tensor) for name, tensor in tensors.items()})

    def encode(self, reduced: Reduced, *, encoding: Encoding = "float") -> bytes:  # noqa: ARG002 - one way only
        """The tensor `reduced`, stamped in the metadata."""
        array = reduced.array.astype(FLOAT32.stored, order="C", copy=False)
        return b"".join((_head(array.shape, reduced.stamp), array.data))


@lru_cache(maxsize=256)
def _head(shape: Shape, stamp: Stamp) -> bytes:
    metadata = (("digest", stamp.digest), ("model", stamp.model), ("version", str(stamp.version)))
    return write_header((("reduced", FLOAT32.stored, shape),), metadata)


def _tensors(text: bytes, schema: BodySchema, num_bytes: int) -> Mapping[str, Tensor]:
    """The tensors of a body with this header and so many bytes, as the route accepts them."""
    tensors, _ = understand_header(text, REQUEST_LIMITS, num_bytes)
    check_fields(list(tensors), schema.arrays)
    for name, tensor in tensors.items():
        check_dtype(tensor.dtype, pointer=f"/{name}", allowed=allowed_dtypes(schema, name))
        check_rows(tensor.shape, max_rows=schema.max_rows, pointer=f"/{name}")
    return tensors


_tensors_once = lru_cache(maxsize=256)(_tensors)


def _array(body: Buffer, name: str, tensor: Tensor) -> FloatArray:
    dtype = tensor.dtype
    return to_float32(view(body, tensor.offset, dtype, tensor.shape), dtype, pointer=f"/{name}")


CODECS.register(SafetensorsCodec.media_type)(SafetensorsCodec())
