"""The same stream over a WebSocket: a message a record, a message an acknowledgement."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from app.api.asgi import Message, Receive, Scope, Send
from app.api.edge import Edge, id_fields
from app.api.errors import kind_of
from app.api.streams.framing import too_large
from app.api.streams.options import BINARY, stream_options
from app.api.streams.records import JsonReader, RawRecord, SafetensorsReader
from app.api.streams.stream import Stream
from app.errors import SlimvecError, TooSlow
from app.settings import Settings

_POLICY, _TOO_BIG, _INTERNAL, _RESTARTING = 1008, 1009, 1011, 1012


async def train_websocket(
    edge: Edge, model: str, scope: Scope, receive: Receive, send: Send
) -> None:
    """Applies train steps one after another; each is answered by one message, in order.

    A sender that does not read its answers is not read either. It waits for its last answer before
    it closes: closing ends both directions at once.
    """
    options, query = stream_options(scope, model, BINARY)
    edge.service.live(model)
    ids = id_fields(edge, model)
    await receive()  # the wish to connect
    await send({"type": "websocket.accept"})
    answers = MessageAnswers(send)
    stream = Stream(edge, scope, options, answers)
    await stream.run(
        _records(
            receive,
            JsonReader(edge.settings, ids),
            SafetensorsReader(edge.settings, query, ids),
            edge.settings,
        )
    )
    if stream.ending is not None:
        await answers.end(_close_code(stream.ending))


class MessageAnswers:
    """Each line a message; one that cannot be sent yet holds the stream up."""

    is_full = False

    def __init__(self, send: Send) -> None:
        self._send = send
        self._is_gone = False

    async def acknowledge(self, line: bytes) -> None:
        """Send an acknowledgement."""
        await self._try({"type": "websocket.send", "text": line.decode().rstrip("\n")})

    refuse = acknowledge

    async def end(self, code: int) -> None:
        """Close, with the reason as a code."""
        await self._try({"type": "websocket.close", "code": code})

    async def _try(self, message: dict[str, object]) -> None:
        """Send to a peer that may have gone: what it sent before is settled all the same."""
        if not self._is_gone:
            try:
                await self._send(message)
            except OSError:  # what ASGI servers raise then
                self._is_gone = True


async def _records(
    receive: Receive, read_json: JsonReader, read_binary: SafetensorsReader, limits: Settings
) -> AsyncIterator[RawRecord]:
    while (message := await _next(receive, limits))["type"] != "websocket.disconnect":
        if (text := message.get("text")) is None:
            body = message["bytes"]
            if len(body) > limits.max_binary_body_bytes:
                raise too_large(limits.max_binary_body_bytes)
            yield RawRecord(body, read_binary)
        else:
            body = text.encode()
            if len(body) > limits.max_json_body_bytes:
                raise too_large(limits.max_json_body_bytes)
            yield RawRecord(body, read_json)


async def _next(receive: Receive, limits: Settings) -> Message:
    """The next whole message.

    Raises:
        TooSlow: none came, or not the whole of one, for as long as a connection may be idle.
    """
    try:
        async with asyncio.timeout(limits.keep_alive_s):
            return await receive()
    except TimeoutError:
        raise TooSlow(
            "stream_idle",
            f"expected a record within {limits.keep_alive_s:g} s; connect again and send it",
        ) from None


def _close_code(ending: Exception) -> int:
    status = kind_of(ending).status if isinstance(ending, SlimvecError) else 500
    if isinstance(ending, SlimvecError) and ending.code == "draining":
        return _RESTARTING
    if status == 413:
        return _TOO_BIG
    return _INTERNAL if status >= 500 else _POLICY
