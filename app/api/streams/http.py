"""POST /train-stream: records in the body of a request, acknowledgements in that of its answer."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from app.api.asgi import ClientGone, Receive, Scope, Send, refuse_encoding
from app.api.edge import Edge, id_fields
from app.api.negotiation import choose_media_type
from app.api.streams.framing import Framing
from app.api.streams.options import BINARY, TEXT, stream_options
from app.api.streams.reading import FRAMES, NDJSON, READS, framing_of, read_records
from app.api.streams.records import JsonReader, RawRecord, RecordReader, SafetensorsReader
from app.api.streams.stream import Stream

_MAX_UNREAD_REFUSALS = 256


async def train_stream(edge: Edge, model: str, scope: Scope, receive: Receive, send: Send) -> None:
    """Applies train steps one after another and acknowledges each once it is durable.

    The answer begins at once and is read while the body is sent. `ack: n` says that every record
    up to n is settled: applied, or refused by an earlier line. A record that carries a `key` is
    applied once, however often it is sent.
    """
    media_type = choose_media_type(scope, READS)
    refuse_encoding(scope)
    options, query = stream_options(scope, model, BINARY if media_type == FRAMES else TEXT)
    edge.service.live(model)
    ids = id_fields(edge, model)
    reader: RecordReader = JsonReader(edge.settings, ids)
    if media_type == FRAMES:
        reader = SafetensorsReader(edge.settings, query, ids)
    framing = framing_of(media_type, edge.settings)
    answers = NdjsonAnswers()
    stream = Stream(edge, scope, options, answers)
    writing = asyncio.create_task(answers.write(send))
    try:
        await stream.run(_records(scope, receive, framing, reader, stream))
        answers.close()
        await writing
    finally:
        writing.cancel()
    if stream.is_gone:
        raise ClientGone


async def _records(
    scope: Scope, receive: Receive, framing: Framing, reader: RecordReader, stream: Stream
) -> AsyncIterator[RawRecord]:
    async for body in read_records(scope, receive, framing, stream.hold):
        yield RawRecord(body, reader)


class NdjsonAnswers:
    """Lines on their way to a peer that may be slow, or not read at all.

    An acknowledgement that was not sent yet is replaced by the next one, so the stream never waits
    for its reader, and what waits to be read is bounded.
    """

    def __init__(self) -> None:
        self._lines: deque[bytes] = deque()
        self._ends_with_ack = False
        self._wake = asyncio.Event()
        self._is_closed = False

    @property
    def is_full(self) -> bool:
        """Whether so many refusals wait to be read that the stream has to end."""
        return len(self._lines) > 2 * _MAX_UNREAD_REFUSALS  # each has an acknowledgement behind it

    async def acknowledge(self, line: bytes) -> None:
        """Take an acknowledgement; it makes the one before it needless."""
        if self._ends_with_ack:
            self._lines.pop()
        self._lines.append(line)
        self._ends_with_ack = True
        self._wake.set()

    async def refuse(self, line: bytes) -> None:
        """Take a refusal; every one is sent."""
        self._lines.append(line)
        self._ends_with_ack = False
        self._wake.set()

    def close(self) -> None:
        """Let `write` end the answer behind what waits."""
        self._is_closed = True
        self._wake.set()

    async def write(self, send: Send) -> None:
        """Send the head, then whatever comes, until closed."""
        # The stream's first receive() comes before the head: it is what answers an
        # `Expect: 100-continue`, and with the head out it is too late for that.
        await asyncio.sleep(0)
        headers = [(b"content-type", NDJSON.encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        is_last = False
        while not is_last:
            await self._wake.wait()
            self._wake.clear()
            is_last, body = self._is_closed, b"".join(self._lines)
            self._lines.clear()
            self._ends_with_ack = False
            await send({"type": "http.response.body", "body": body, "more_body": not is_last})
