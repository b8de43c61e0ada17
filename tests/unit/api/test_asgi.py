from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest

from app.api.asgi import ClientGone, Message, header, read_body, single_header
from app.codecs import Buffer
from app.engine import Admission
from app.errors import Malformed, SlimvecError, TooLarge, UnsupportedMediaType


def scope(**headers: str) -> dict[str, Any]:
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "headers": pairs, "ticket": Admission(1, 1024).admit()}


LIMIT = 8


def read(chunks: Iterable[bytes], **headers: str) -> Buffer:
    parts = list(chunks)
    messages = [
        {"type": "http.request", "body": part, "more_body": i < len(parts) - 1}
        for i, part in enumerate(parts)
    ] or [{"type": "http.disconnect"}]

    async def receive() -> Message:
        return messages.pop(0)

    return asyncio.run(read_body(scope(**headers), receive, LIMIT))


def test_a_body_arrives_whole_in_one_piece_or_many() -> None:
    assert read([b"12345678"]) == b"12345678"
    assert read([b"12", b"", b"345"]) == b"12345"
    assert read([b""]) == b""


@pytest.mark.parametrize(
    ("chunks", "headers", "refusal"),
    [
        ([b"123456789"], {}, TooLarge),
        ([b"12345", b"6789"], {}, TooLarge),
        ([b""], {"content_length": "9"}, TooLarge),
        ([b"1"], {"content_encoding": "gzip"}, UnsupportedMediaType),
        ([], {}, ClientGone),
    ],
)
def test_a_body_is_refused_as_soon_as_it_is_known_to_be_unusable(
    chunks: list[bytes], headers: dict[str, str], refusal: type[SlimvecError]
) -> None:
    with pytest.raises(refusal):
        read(chunks, **headers)


def test_of_a_header_given_twice_the_first_one_counts() -> None:
    twice = {"headers": [(b"accept", b"a"), (b"x", b"y"), (b"accept", b"b")]}
    assert (header(twice, b"accept"), header(twice, b"x"), header(twice, b"z")) == ("a", "y", None)


def test_identity_is_no_encoding() -> None:
    assert read([b"1"], content_encoding="Identity") == b"1"


def test_a_header_given_twice_means_nothing() -> None:
    twice = {"headers": [(b"if-match", b'"1"'), (b"if-match", b'"2"')]}
    with pytest.raises(Malformed, match="one if-match header"):
        single_header(twice, b"if-match")
    assert single_header(scope(if_match='"1"'), b"if-match") == '"1"'
    assert single_header(scope(), b"if-match") is None
