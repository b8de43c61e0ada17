"""Safetensors bodies: named tensors; options travel as query parameters."""

from __future__ import annotations

from app.codecs.codec import CODECS, Body, BodySchema, Buffer, Encoding
from app.codecs.dtypes import check_float, to_float32, view
from app.codecs.fields import check_fields, empty_body
from app.codecs.shapes import check_rows
from app.codecs.tensors import REQUEST_LIMITS, Tensor, pack, read_header
from app.types import FloatArray, Reduced


class SafetensorsCodec:
    """Tensors named as the JSON fields."""

    media_type = "application/x-safetensors"

    def decode(self, body: Buffer, schema: BodySchema) -> Body:
        """The arrays; without a copy those that are aligned float32."""
        if not len(body):
            raise empty_body(self.media_type)
        tensors, _ = read_header(body, limits=REQUEST_LIMITS)
        check_fields(list(tensors), schema.arrays)
        return Body({name: _array(body, name, tensors[name], schema) for name in tensors})

    def encode(self, reduced: Reduced, *, encoding: Encoding = "float") -> bytes:  # noqa: ARG002 - one way only
        """The tensor `reduced`, stamped in the metadata."""
        stamp = reduced.stamp
        metadata = {"model": stamp.model, "version": str(stamp.version), "digest": stamp.digest}
        return pack({"reduced": reduced.array}, metadata)


def _array(body: Buffer, name: str, tensor: Tensor, schema: BodySchema) -> FloatArray:
    pointer = f"/{name}"
    dtype = check_float(tensor.dtype, pointer=pointer)
    check_rows(tensor.shape, max_rows=schema.max_rows, pointer=pointer)
    return to_float32(view(body, tensor.offset, dtype, tensor.shape), dtype, pointer=pointer)


CODECS.register(SafetensorsCodec.media_type)(SafetensorsCodec())
