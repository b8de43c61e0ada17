"""The ASGI vocabulary and a reader of request heads and bodies; `api/answer.py` writes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, TypeAlias

from app.api.answer import Answer as Answer
from app.codecs import Buffer
from app.errors import Malformed, SlimvecError, TooLarge, UnsupportedMediaType

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

_HEADERS = "headers_by_name"


class ClientGone(SlimvecError):
    """The client hung up before its request was whole; there is nobody to answer."""

    def __init__(self) -> None:
        super().__init__("client_gone", "the client closed the connection")


def headers_of(scope: Scope) -> Mapping[bytes, bytes]:
    """The headers by (lower-case) name, the first one of each; looked through once a request."""
    found: Mapping[bytes, bytes] | None = scope.get(_HEADERS)
    if found is None:
        found = scope[_HEADERS] = dict(reversed(scope["headers"]))
    return found


def header(scope: Scope, name: bytes) -> str | None:
    """The first header of that (lower-case) name."""
    value = headers_of(scope).get(name)
    return None if value is None else value.decode("latin-1")


def single_header(scope: Scope, name: bytes) -> str | None:
    """The header of that name, which may be given at most once.

    Raises:
        Malformed: it is given twice, so that its meaning depends on who reads it.
    """
    values = [value for key, value in scope["headers"] if key == name]
    if len(values) > 1:
        raise Malformed("duplicate_header", f"expected one {name.decode()} header, got several")
    return values[0].decode("latin-1") if values else None


async def read_body(scope: Scope, receive: Receive, max_bytes: int) -> Buffer:
    """The whole body, refused as soon as it is known to be too large.

    Raises:
        UnsupportedMediaType: a Content-Encoding.
        TooLarge: declared or counted over `max_bytes`.
        QueueFull: too many bytes are in flight.
        ClientGone: the client hung up.
    """
    refuse_encoding(scope)
    return await read_encoded(scope, receive, max_bytes)


async def read_encoded(scope: Scope, receive: Receive, max_bytes: int, *, lead: int = 0) -> Buffer:
    """The whole body in whatever Content-Encoding it has; raises otherwise as `read_body`.

    `lead` bytes are left free before a body that comes in parts, so that what lies behind as many
    less than a multiple of the alignment is aligned in memory.
    """
    if declared_bytes(scope) > max_bytes:
        raise _too_large(max_bytes)
    first = await receive_message(receive)
    body: bytes = first.get("body", b"")
    if len(body) > max_bytes:
        raise _too_large(max_bytes)
    if not first.get("more_body"):
        return body
    whole = await _read_rest(scope, receive, bytearray(lead) + body, max_bytes + lead)
    return memoryview(whole)[lead:] if lead else whole


def declared_bytes(scope: Scope) -> int:
    """The Content-Length; 0 where there is none (a chunked body is counted as it comes)."""
    return int(headers_of(scope).get(b"content-length", 0))


def refuse_encoding(scope: Scope) -> None:
    """Refuse a body that is not sent as it is.

    Raises:
        UnsupportedMediaType: a Content-Encoding.
    """
    encoding = header(scope, b"content-encoding")
    if encoding is not None and encoding.strip().lower() != "identity":
        raise UnsupportedMediaType(
            "unsupported_content_encoding", "expected no Content-Encoding; send the body as it is"
        )


async def _read_rest(scope: Scope, receive: Receive, body: bytearray, max_bytes: int) -> bytearray:
    more = True
    while more:
        message = await receive_message(receive)
        body += message.get("body", b"")
        if len(body) > max_bytes:
            raise _too_large(max_bytes)
        scope["ticket"].cover(len(body))
        more = message.get("more_body", False)
    return body


async def receive_message(receive: Receive) -> Message:
    """The next part of a request's body.

    Raises:
        ClientGone: the client hung up.
    """
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGone
    return message


def _too_large(max_bytes: int) -> TooLarge:
    return TooLarge(
        "body_too_large", f"expected a body of at most {max_bytes} bytes; send smaller batches"
    )
