"""The ASGI vocabulary, a reader of request bodies and a writer of answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from app.codecs import Buffer
from app.errors import Malformed, SlimvecError, TooLarge, UnsupportedMediaType

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


class ClientGone(SlimvecError):
    """The client hung up before its request was whole; there is nobody to answer."""

    def __init__(self) -> None:
        super().__init__("client_gone", "the client closed the connection")


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer: what a hot route returns."""

    body: bytes
    headers: Mapping[str, str]
    status: int = 200


def header(scope: Scope, name: bytes) -> str | None:
    """The first header of that (lower-case) name."""
    for key, value in scope["headers"]:
        if key == name:
            return str(value.decode("latin-1"))
    return None


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
    if declared_bytes(scope) > max_bytes:
        raise _too_large(max_bytes)
    first = await receive_message(receive)
    body: bytes = first.get("body", b"")
    if len(body) > max_bytes:
        raise _too_large(max_bytes)
    if not first.get("more_body"):
        return body
    return await _read_rest(scope, receive, bytearray(body), max_bytes)


def declared_bytes(scope: Scope) -> int:
    """The Content-Length; 0 where there is none (a chunked body is counted as it comes)."""
    return int(header(scope, b"content-length") or 0)


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


async def send_answer(send: Send, answer: Answer) -> None:
    """Write an answer, with its length."""
    headers = [(name.encode(), value.encode("latin-1")) for name, value in answer.headers.items()]
    headers.append((b"content-length", str(len(answer.body)).encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


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
