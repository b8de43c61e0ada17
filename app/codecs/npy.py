"""`.npy` bodies: one array. The header is read here; numpy, which evaluates it, never sees it.

Source: numpy's `numpy.lib.format` (the format's versions 1.0, 2.0 and 3.0).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

from app.codecs.codec import CODECS, Body, BodySchema, Buffer, Encoding
from app.codecs.dtypes import FLOAT32, NUMPY, DType, allowed_dtypes, check_dtype, to_float32, view
from app.codecs.fields import check_fields, empty_body
from app.codecs.shapes import Shape, check_dimensions, check_length, check_rows
from app.errors import Unacceptable
from app.types import Reduced

_FIELD = "hidden_states"
_POINTER = f"/{_FIELD}"
_MAGIC = b"\x93NUMPY"
# By version, major and minor.
_LENGTH_BYTES = {b"\x01\x00": 2, b"\x02\x00": 4, b"\x03\x00": 4}
_MAX_HEADER_BYTES = 4096
_ALIGNMENT = 64
_SIZE = rb"(?:0|[1-9][0-9]*)"
_HEADER = re.compile(
    rb"\{ ?'descr': ?(?:'(?P<descr>[^'\\]{1,16})'|\[[^\n]*\]), ?"
    rb"'fortran_order': ?(?P<fortran>True|False), ?"
    rb"'shape': ?\((?P<shape>|%b,|%b(?:, ?%b)+,?)\),? ?\} *\n" % (_SIZE, _SIZE, _SIZE)
)
_SUPPORTED = {dtype.stored.str: dtype for dtype in NUMPY.values()}


class NpyCodec:
    """One array, which becomes the field `hidden_states`."""

    media_type = "application/x-npy"

    def decode(self, body: Buffer, schema: BodySchema) -> Body:
        """The array; without a copy when it is aligned float32 in C order."""
        if not len(body):
            raise empty_body(self.media_type)
        check_fields([_FIELD], schema.arrays)
        offset, dtype, shape, order = _read_header(body, schema)
        check_rows(shape, max_rows=schema.max_rows, pointer=_POINTER)
        check_length(len(body) - offset, shape, dtype.stored.itemsize, pointer=_POINTER)
        values = view(body, offset, dtype, shape, order=order)
        return Body({_FIELD: to_float32(values, dtype, pointer=_POINTER)})

    def encode(self, reduced: Reduced, *, encoding: Encoding = "float") -> bytes:  # noqa: ARG002 - one way only
        """Version 1.0, as `numpy.save` writes it."""
        array = reduced.array.astype(FLOAT32.stored, order="C", copy=False)
        header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {array.shape}, }}"
        prefix_bytes = len(_MAGIC) + 4
        padding = -(prefix_bytes + len(header) + 1) % _ALIGNMENT
        text = f"{header}{' ' * padding}\n".encode("ascii")
        return b"".join((_MAGIC, b"\x01\x00", len(text).to_bytes(2, "little"), text, array.data))


def _read_header(body: Buffer, schema: BodySchema) -> tuple[int, DType, Shape, Literal["C", "F"]]:
    """Where the values begin, and what they are."""
    version_at = len(_MAGIC)
    start = bytes(body[: version_at + 6])
    num_length_bytes = _LENGTH_BYTES.get(start[version_at : version_at + 2])
    if not start.startswith(_MAGIC) or num_length_bytes is None:
        raise _malformed()
    header_at = version_at + 2 + num_length_bytes
    length = int.from_bytes(start[version_at + 2 : header_at], "little")
    if length > min(_MAX_HEADER_BYTES, len(body) - header_at):
        raise _malformed()
    dtype, shape, order = _understood(bytes(body[header_at : header_at + length]), schema)
    return header_at + length, dtype, shape, order


# Batches come in a few shapes, again and again: a header is read once.
@lru_cache(maxsize=64)
def _understood(text: bytes, schema: BodySchema) -> tuple[DType, Shape, Literal["C", "F"]]:
    header = _HEADER.fullmatch(text)
    if header is None:
        raise _malformed()
    descr = (header["descr"] or b"").decode("latin-1")
    allowed = allowed_dtypes(schema, _FIELD)
    dtype = check_dtype(_SUPPORTED.get(descr), pointer=_POINTER, allowed=allowed)
    sizes = [int(size) for size in header["shape"].split(b",") if size.strip()]
    shape = check_dimensions(sizes, pointer=_POINTER)
    return dtype, shape, "F" if header["fortran"] == b"True" else "C"


def _malformed() -> Unacceptable:
    return Unacceptable(
        "malformed_npy",
        "expected an .npy file of version 1.0, 2.0 or 3.0 with the header that numpy.save writes, "
        f"of at most {_MAX_HEADER_BYTES} bytes, got something else or a part of one",
        pointer=_POINTER,
    )


CODECS.register(NpyCodec.media_type)(NpyCodec())
