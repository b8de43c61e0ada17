from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.codecs.compression import ENCODINGS, deflate, inflate
from app.errors import Malformed, TooLarge

COMPRESS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "deflate": zlib.compress}
DECOMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.decompress,
    "deflate": zlib.decompress,
}
MIB = 1 << 20


def whole(body: bytes, encoding: str, max_bytes: int = 8 * MIB) -> bytes:
    return b"".join(inflate(body, encoding, max_bytes))


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(st.binary(max_size=64), st.sampled_from([0, 1, 1000, 3 * MIB]))
def test_reads_what_others_write_and_they_what_is_written_here(
    encoding: str, start: bytes, zeros: int
) -> None:
    body = start + bytes(zeros)
    assert whole(COMPRESS[encoding](body), encoding) == body
    assert DECOMPRESS[encoding](deflate(body, encoding)) == body


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_bomb_is_refused_before_it_is_made(encoding: str) -> None:
    pieces = inflate(COMPRESS[encoding](bytes(64 * MIB)), encoding, 2 * MIB)
    made = [next(pieces), next(pieces)]
    with pytest.raises(TooLarge):
        next(pieces)
    assert sum(map(len, made)) <= 2 * MIB


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    "spoil",
    [lambda b: b[:-1], lambda b: b + b"x", lambda b: b + b, lambda b: b"", lambda b: b[4:],
     lambda b: bytes(9), lambda b: b[:-5] + bytes(5)],
)  # fmt: skip
def test_a_body_has_to_be_one_whole_stream(encoding: str, spoil: Callable[[bytes], bytes]) -> None:
    with pytest.raises(Malformed, match="one whole"):
        whole(spoil(COMPRESS[encoding](b"some body" * 9)), encoding)


def test_raw_deflate_is_not_the_deflate_of_http() -> None:
    stream = zlib.compressobj(wbits=-15)
    with pytest.raises(Malformed):
        whole(stream.compress(b"abc") + stream.flush(), "deflate")


@given(st.binary(max_size=200), st.sampled_from(sorted(ENCODINGS)))
def test_any_bytes_are_read_or_refused(body: bytes, encoding: str) -> None:
    with suppress(Malformed):  # nothing else may come out
        whole(body, encoding)
