"""The bytes of an inference: read in any Content-Encoding, and where the JSON part ends."""

from __future__ import annotations

import asyncio
import re

from app.api.asgi import Receive, Scope, header, read_encoded, single_header
from app.api.negotiation import by_quality
from app.codecs import Buffer
from app.codecs.compression import ENCODINGS, deflate, inflate
from app.errors import Malformed, TooLarge, UnsupportedMediaType
from app.settings import Settings

HEADER_LENGTH = "inference-header-content-length"
_LENGTH = re.compile(r"[0-9]{1,18}")
# Where the kernels expect a row to begin; see `app/engine`.
_ALIGNMENT = 16
# A compressed body of this size is at most a few MiB, made in less time than two hops take.
_INLINE_BYTES = 4 << 10
# So is an answer compressed.
_INLINE_ANSWER_BYTES = 64 << 10


async def read_payload(
    scope: Scope, receive: Receive, limits: Settings
) -> tuple[Buffer, int | None]:
    """The body, uncompressed, and how many of its bytes are JSON; None: all of them.

    Raises:
        Malformed: `bad_inference_header`, `duplicate_header`, `malformed_encoding`.
        UnsupportedMediaType: a Content-Encoding other than gzip and deflate.
        TooLarge: the body, as it comes or uncompressed, or its JSON part.
        QueueFull: too many bytes are in flight.
    """
    length = _header_length(scope)
    max_json = limits.max_json_body_bytes
    max_bytes = max_json if length is None else limits.max_binary_body_bytes
    encoding = _content_encoding(scope)
    # The first tensor begins behind the JSON part.
    lead = -(length or 0) % _ALIGNMENT
    if encoding is None:
        body = await read_encoded(scope, receive, max_bytes, lead=lead)
    else:
        compressed = await read_encoded(scope, receive, max_bytes)
        body = await _inflated(scope, compressed, encoding, max_bytes, lead)
    if length is not None and length > len(body):
        raise _bad_header(f"at most the {len(body)} bytes of the body")
    if length is not None and length > max_json:
        raise TooLarge(
            "body_too_large",
            f"expected a JSON part of at most {max_json} bytes; send tensors behind it",
        )
    return body, length


def choose_encoding(scope: Scope, *, is_binary: bool) -> str | None:
    """The Content-Encoding of the answer, as Accept-Encoding asks for it; None for none.

    A list of several is what a library says of itself, and floats in binary hardly shrink: such an
    answer is compressed only for a client that asks for exactly one encoding.
    """
    accepted = header(scope, b"accept-encoding")
    if accepted is None:
        return None
    wanted = by_quality(accepted)
    if is_binary and len(wanted) > 1:
        return None
    return next((encoding for encoding in wanted if encoding in ENCODINGS), None)


async def compress(body: bytes, encoding: str) -> bytes:
    """An answer, compressed; a large one beside the event loop."""
    if len(body) <= _INLINE_ANSWER_BYTES:
        return deflate(body, encoding)
    return await asyncio.to_thread(deflate, body, encoding)


async def _inflated(scope: Scope, body: Buffer, encoding: str, max_bytes: int, lead: int) -> Buffer:
    pieces, whole = inflate(body, encoding, max_bytes), bytearray(lead)
    is_small = len(body) <= _INLINE_BYTES
    while True:
        piece = next(pieces, None) if is_small else await asyncio.to_thread(next, pieces, None)
        if piece is None:
            return memoryview(whole)[lead:]
        whole += piece
        scope["ticket"].cover(len(body) + len(whole))


def _header_length(scope: Scope) -> int | None:
    text = single_header(scope, HEADER_LENGTH.encode())
    if text is None:
        return None
    if not _LENGTH.fullmatch(text):
        raise _bad_header("a number of bytes")
    return int(text)


def _content_encoding(scope: Scope) -> str | None:
    encoding = (single_header(scope, b"content-encoding") or "identity").strip().lower()
    if encoding == "identity":
        return None
    if encoding not in ENCODINGS:
        raise UnsupportedMediaType(
            "unsupported_content_encoding",
            f"expected the Content-Encoding {' or '.join(ENCODINGS)}, or none",
        )
    return encoding


def _bad_header(what: str) -> Malformed:
    return Malformed(
        "bad_inference_header",
        f"expected Inference-Header-Content-Length to be {what}: how long the JSON part is",
    )
