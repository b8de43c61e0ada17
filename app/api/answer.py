"""Whole answers, and the two forms of a head: pairs for ASGI, lines for a socket."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from app.api.security import SECURITY_HEADERS

# A value that ends its line would begin a header, or an answer, of its own choice.
_NO_CONTROLS = re.compile(rb"[\x20-\x7e\x80-\xff\t]*")
_NAME = re.compile(rb"[a-z0-9-]+")


class Headers(Mapping[str, str]):
    """Headers that are written often, put into both forms once.

    Args:
        headers: values by lower-case name.

    Attributes:
        pairs: as ASGI wants them.
        lines: as the wire has them, each with its end.
    """

    __slots__ = ("_headers", "lines", "pairs")

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = dict(headers)
        self.pairs = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        for name, value in self.pairs:
            assert _NAME.fullmatch(name), "a header is named by us"
            assert _NO_CONTROLS.fullmatch(value), f"the value of {name!r} would end its line"
        self.lines = b"".join([b"%b: %b\r\n" % pair for pair in self.pairs])

    def __getitem__(self, name: str) -> str:
        return self._headers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._headers)

    def __len__(self) -> int:
        return len(self._headers)


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer: what a hot route returns."""

    body: bytes
    headers: Mapping[str, str]
    status: int = 200


# What every answer says, whoever asks.
ALWAYS = Headers(SECURITY_HEADERS)


class Stamped:
    """An answer with what only the outermost layer knows: its id and its time.

    Args:
        answer: what a route returned.
        request_id: the id of its request, a harmless word.
        elapsed_s: the time that it took.
    """

    __slots__ = ("_head", "_request_id", "_timing", "body", "status")

    def __init__(self, answer: Answer, request_id: str, elapsed_s: float) -> None:
        headers = answer.headers
        self._head = headers if type(headers) is Headers else Headers(headers)
        self._request_id = request_id.encode()
        self._timing = timing(elapsed_s)
        self.status = answer.status
        self.body = answer.body

    def pairs(self) -> list[tuple[bytes, bytes]]:
        """The head for ASGI."""
        return [
            *self._head.pairs,
            (b"content-length", b"%d" % len(self.body)),
            (b"request-id", self._request_id),
            (b"server-timing", self._timing),
            *ALWAYS.pairs,
        ]

    def lines(self) -> bytes:
        """The same head for a socket."""
        return b"%bcontent-length: %d\r\nrequest-id: %b\r\nserver-timing: %b\r\n%b" % (
            self._head.lines,
            len(self.body),
            self._request_id,
            self._timing,
            ALWAYS.lines,
        )


def timing(elapsed_s: float) -> bytes:
    """The value of `Server-Timing`."""
    return b"total;dur=%.3f" % (elapsed_s * 1e3)
