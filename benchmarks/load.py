"""A closed-loop load generator in a process of its own: the same request, over and over.

    python -m benchmarks.load PORT CONNECTIONS SECONDS < request

The request is a whole HTTP/1.1 request as it goes over the wire. Each connection sends it, reads
the answer to its end by Content-Length, and sends it again. The window begins after a warm-up and
the first answer, and ends when its time is over and each connection could have had an answer in
it; afterwards nothing is sent any more, but what is under way is awaited, so that no backlog
disturbs the next measurement. Prints one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from array import array
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from time import perf_counter, process_time
from typing import cast

import uvloop

_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_WARM_UP_SHARE = 0.2
_PATIENCE_S = 120.0


@dataclass(frozen=True, slots=True)
class Load:
    """What one measurement saw.

    Attributes:
        requests_per_s: answers in the window, over its length.
        p50_ms: median time from sending to the answer's last byte.
        p99_ms: its 99th percentile.
        cpu_share: of one core, that the generator itself used in the window; near 1 the
            generator was the bottleneck, and the server could have done more.
        answered: all answers, also those outside the window.
    """

    requests_per_s: float
    p50_ms: float
    p99_ms: float
    cpu_share: float
    answered: int


class BadAnswer(Exception):
    """The server did not answer 200, or not in HTTP that this generator reads."""


class Window:
    """Decides when to count and when to stop; shared by all connections."""

    def __init__(self, connections: int, seconds: float) -> None:
        self._connections = connections
        self._seconds = seconds
        self._counting_from = perf_counter() + seconds * _WARM_UP_SHARE
        self._began = self._cpu_began = 0.0
        self._latencies = array("d")
        self._answered = 0
        self._ended: tuple[float, float] | None = None  # length and CPU seconds

    @property
    def has_ended(self) -> bool:
        """Whether nothing more is to be sent."""
        return self._ended is not None

    def note_answer(self, sent_at: float) -> bool:
        """Count an answer; whether its connection should send again."""
        now = perf_counter()
        self._answered += 1
        if self._ended:
            return False
        if self._began:
            self._latencies.append(now - sent_at)
            elapsed = now - self._began
            if elapsed >= self._seconds and len(self._latencies) >= self._connections:
                self._ended = elapsed, process_time() - self._cpu_began
                return False
        elif now >= self._counting_from:
            self._began, self._cpu_began = now, process_time()
        return True

    def result(self) -> Load:
        """The figures, once every connection has stopped."""
        assert self._ended, "a connection stops only when the window has ended"
        elapsed, cpu = self._ended
        ordered = sorted(self._latencies)
        last = len(ordered) - 1
        return Load(
            requests_per_s=len(ordered) / elapsed,
            p50_ms=ordered[last // 2] * 1e3,
            p99_ms=ordered[round(last * 0.99)] * 1e3,
            cpu_share=cpu / elapsed,
            answered=self._answered,
        )


class Connection(asyncio.Protocol):
    """Sends the request until the window has ended; `stopped` says so, or why not."""

    def __init__(self, request: bytes, window: Window) -> None:
        self._request = request
        self._window = window
        self._head = b""
        self._missing = 0
        self._sent_at = 0.0
        self.stopped: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        # uvloop's own transport class is no subclass of asyncio's, but has its methods.
        self._transport = cast(asyncio.Transport, transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        """Count the answer's bytes; at its end, send again or stop."""
        if self._missing:
            self._missing -= len(data)
        else:
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return
            try:
                length = self._read_head(self._head[:end])
                self._missing = length - (len(self._head) - end - 4)
            except BadAnswer as error:
                self._stop(error)
                return
            self._head = b""
        if self._missing < 0:
            self._stop(BadAnswer("more bytes than Content-Length says"))
        elif self._missing == 0:
            self._go_on()

    def connection_lost(self, exc: Exception | None) -> None:
        """A server that hangs up in the middle has failed."""
        self._stop(BadAnswer(f"the connection was closed: {exc}"))

    def _read_head(self, head: bytes) -> int:
        """The length of the body behind the head of an answer."""
        return body_length(head)

    def _go_on(self) -> None:
        """An answer is whole."""
        if self._window.note_answer(self._sent_at):
            self._send()
        else:
            self._stop(None)

    def _send(self) -> None:
        self._sent_at = perf_counter()
        self._transport.write(self._request)

    def _stop(self, error: BadAnswer | None) -> None:
        if not self.stopped.done():
            if error:
                self.stopped.set_exception(error)
            else:
                self.stopped.set_result(None)
        self._transport.close()


def body_length(head: bytes) -> int:
    """The length of the body that an answer's head announces.

    Raises:
        BadAnswer: another status than 200, or no Content-Length.
    """
    if not head.startswith(b"HTTP/1.1 200"):
        raise BadAnswer(head.partition(b"\r\n")[0].decode("latin-1"))
    match = _CONTENT_LENGTH.search(head)
    if match is None:
        raise BadAnswer("no Content-Length")
    return int(match[1])


async def drive(port: int, request: bytes, *, connections: int, seconds: float) -> Load:
    """Load the server on a port of this machine.

    Raises:
        BadAnswer: a connection did not get what it should.
    """
    window = Window(connections, seconds)
    await drive_all(port, [Connection(request, window) for _ in range(connections)])
    return window.result()


async def drive_all(port: int, clients: Sequence[Connection]) -> None:
    """Connect, and wait until every connection has stopped.

    Raises:
        BadAnswer: one did not get what it should.
    """
    loop = asyncio.get_running_loop()
    waiting = iter(clients)
    made = [await loop.create_connection(waiting.__next__, "127.0.0.1", port) for _ in clients]
    stopped = [connection.stopped for _, connection in made]
    try:
        async with asyncio.timeout(_PATIENCE_S):
            await asyncio.gather(*stopped)
    finally:
        for transport, _ in made:
            transport.close()
        await asyncio.wait(stopped)


def main() -> None:
    """Read the request from stdin, drive, print."""
    port, connections, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    request = sys.stdin.buffer.read()
    run = drive(port, request, connections=connections, seconds=seconds)
    print(json.dumps(asdict(uvloop.run(run))))


if __name__ == "__main__":
    main()
