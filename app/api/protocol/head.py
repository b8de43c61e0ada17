"""What a head must not be, beside what the parser refuses itself: each check raises."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from httptools import HttpParserCallbackError, HttpParserError, HttpParserInvalidMethodError

from app.api.errors import (
    ExpectationFailed,
    HeadTooLarge,
    MethodNotAllowed,
    TargetTooLong,
)
from app.api.protocol.limits import Limits
from app.errors import Malformed, TooLarge

_WATCHED = frozenset({b"host", b"content-length", b"transfer-encoding", b"expect"})
_VERSIONS = ("1.1", "1.0")
_METHODS = "DELETE, GET, PATCH, POST, PUT"
_NOT_OFFERED = frozenset({"CONNECT", "TRACE"})
_REQUEST_LINE = re.compile(rb"([!-~]{1,64}) [!-~]+ HTTP/1\.[01]\r\n")


@dataclass(frozen=True, slots=True)
class Framing:
    """How the body of a request is delimited.

    Attributes:
        length: its Content-Length; None where it comes in chunks.
        is_expecting: whether its sender waits for `100 Continue`.
    """

    length: int | None
    is_expecting: bool


NO_BODY = Framing(0, is_expecting=False)


def read_framing(headers: Sequence[tuple[bytes, bytes]], version: str) -> Framing:
    """The framing that a head announces.

    Raises:
        Malformed: another version than HTTP/1; not one Host, or one of the others twice; a
            Transfer-Encoding but chunked.
        ExpectationFailed: an Expect that is not met here.
    """
    if version not in _VERSIONS:
        raise _bad_request("HTTP/1.1, got another version")
    watched = [header for header in headers if header[0] in _WATCHED]
    if len(watched) == 1 and watched[0][0] == b"host":
        return NO_BODY
    return _framing(watched, version)


def _framing(watched: Sequence[tuple[bytes, bytes]], version: str) -> Framing:
    names = [name for name, _ in watched]
    if names.count(b"host") != 1:
        raise Malformed("bad_host", f"expected one Host header, got {names.count(b'host')}")
    values = dict(watched)
    if len(values) < len(names):  # the parser reads on when Transfer-Encoding ends in chunked
        raise _bad_request("Content-Length, Transfer-Encoding and Expect at most once each")
    encoding = values.get(b"transfer-encoding")
    if encoding is not None and (encoding.strip().lower() != b"chunked" or version != "1.1"):
        raise _bad_request("Transfer-Encoding: chunked, in HTTP/1.1, or a Content-Length")
    expect = values.get(b"expect")
    if expect is not None and expect.strip().lower() != b"100-continue":
        raise ExpectationFailed(
            "expectation_failed", "expected no Expect header, or Expect: 100-continue"
        )
    length = None if encoding is not None else int(values.get(b"content-length", b"0"))
    return Framing(length, is_expecting=expect is not None and version == "1.1")


def check_method(method: str) -> None:
    """Refuse what no path has.

    Raises:
        MethodNotAllowed: `method_not_allowed`.
    """
    if method in _NOT_OFFERED:
        raise _not_offered()


def check_handshake(method: str, framing: Framing) -> None:
    """Refuse a wish for a WebSocket that is none.

    Raises:
        Malformed: another method than GET, or a body.
    """
    if method != "GET" or framing.length != 0:
        raise _bad_request("a WebSocket to be asked for by a GET without a body")


def check_target(target: bytes, headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    """The path and query of a request target.

    A whole URI is as good as a path when it names the same server as Host does.

    Raises:
        Malformed: any other form.
    """
    if target.startswith(b"/"):
        return target
    scheme, separator, rest = target.partition(b"://")
    authority, slash, path = rest.partition(b"/")
    host = dict(headers)[b"host"]
    if separator and scheme.lower() == b"http" and slash and authority.lower() == host.lower():
        return slash + path
    raise _bad_request("a path as the target of the request, or a URI of the server in Host")


def check_size(url: bytes, headers: Sequence[tuple[bytes, bytes]], limits: Limits) -> None:
    """Refuse a head over its limits.

    Raises:
        TargetTooLong: `target_too_long`.
        HeadTooLarge: `head_too_large`.
    """
    if len(url) > limits.max_url_bytes:
        raise TargetTooLong(
            "target_too_long", f"expected a target of at most {limits.max_url_bytes} bytes"
        )
    num_bytes = sum(len(name) + len(value) + 4 for name, value in headers)
    if len(headers) > limits.max_headers or num_bytes > limits.max_header_bytes:
        raise head_too_large(limits)


def head_too_large(limits: Limits) -> HeadTooLarge:
    """The refusal of a head, or of what stands around the chunks of a body."""
    return HeadTooLarge(
        "head_too_large",
        f"expected at most {limits.max_headers} headers "
        f"of together at most {limits.max_header_bytes} bytes",
    )


def too_many_chunks(limits: Limits) -> TooLarge:
    """The refusal of a body in crumbs."""
    return TooLarge(
        "too_many_chunks",
        f"expected a body in at most {limits.max_chunks} chunks; send larger ones",
    )


def fault_of(error: HttpParserError, data: bytes) -> Exception:
    """What a client is told of a parser's error, which may carry one of a callback."""
    cause = error.__context__
    is_of_callback = isinstance(error, HttpParserCallbackError)
    if is_of_callback and isinstance(cause, Exception) and not isinstance(cause, HttpParserError):
        return cause
    if isinstance(error, HttpParserInvalidMethodError):
        line = _REQUEST_LINE.match(data)
        if line and line[1].decode() not in _METHODS:  # else it was another line of these
            return _not_offered()
    return _bad_request("a request in HTTP/1.1, each line ending in CR LF")


def _not_offered() -> MethodNotAllowed:
    return MethodNotAllowed(
        "method_not_allowed", f"expected one of these methods: {_METHODS}", allow=_METHODS
    )


def _bad_request(expected: str) -> Malformed:
    return Malformed("bad_request", f"expected {expected}")
