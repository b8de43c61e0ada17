"""Content-Encoding gzip and deflate: bodies made larger in bounded pieces, answers made smaller."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping

from app.codecs.codec import Buffer
from app.errors import Malformed, TooLarge

# What zlib calls the two: deflate on the wire is the zlib format (RFC 9110, section 8.4.1.2).
ENCODINGS: Mapping[str, int] = {"gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}

_PIECE = 64 << 10
_LARGEST_PIECE = 1 << 20
_FAST = 1  # the higher levels take several times as long, and floats hardly shrink


def inflate(body: Buffer, encoding: str, max_bytes: int) -> Iterator[bytes]:
    """The body as it was, piece by piece; none is made before it is asked for.

    Raises:
        Malformed: `malformed_encoding`: not one whole stream of that encoding.
        TooLarge: `body_too_large`, as soon as the pieces are more than `max_bytes` together.
    """
    stream, total = zlib.decompressobj(ENCODINGS[encoding]), 0
    for begin in range(0, len(body), _PIECE):
        rest = body[begin : begin + _PIECE]
        while True:
            piece = _next(stream, rest, encoding)
            total += len(piece)
            if total > max_bytes:
                raise TooLarge(
                    "body_too_large",
                    f"expected a body of at most {max_bytes} bytes when it is uncompressed; "
                    "send smaller batches",
                )
            yield piece
            rest = stream.unconsumed_tail
            # A full piece may have another one behind it, also when all input is taken.
            if not rest and len(piece) < _LARGEST_PIECE:
                break
    if not stream.eof:
        raise _malformed(encoding, "its end is missing")


def deflate(body: Buffer, encoding: str) -> bytes:
    """The body, compressed; the same bytes each time."""
    stream = zlib.compressobj(_FAST, wbits=ENCODINGS[encoding])
    return stream.compress(body) + stream.flush()


def _next(stream: zlib._Decompress, rest: Buffer, encoding: str) -> bytes:
    if stream.eof and rest:
        raise _malformed(encoding, "bytes follow its end")
    try:
        piece = stream.decompress(rest, _LARGEST_PIECE)
    except zlib.error:
        raise _malformed(encoding, "it is damaged") from None
    if stream.unused_data:
        raise _malformed(encoding, "bytes follow its end")
    return piece


def _malformed(encoding: str, how: str) -> Malformed:
    return Malformed("malformed_encoding", f"expected a body of one whole {encoding} stream: {how}")
