"""Bytes on a socket, as no client library would send them."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPResponse
from time import monotonic, sleep
from types import TracebackType
from urllib.parse import urlsplit

import httpx

from tests.server import RunningServer

PATIENCE_S = 30  # a hang is a failure; nothing here takes that long


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The head of a request, line by line."""

    line: str = "POST /reduce HTTP/1.1"
    host: str | None = "127.0.0.1"
    headers: tuple[str, ...] = ()

    def encode(self) -> bytes:
        """The head, with the empty line behind it."""
        host = () if self.host is None else (f"Host: {self.host}",)
        return "\r\n".join([self.line, *host, *self.headers, "", ""]).encode("latin-1")


class Wire:
    """One connection.

    Args:
        server: the other end.
        receive_buffer: size of the socket's own; small, so that a server soon has to wait.
    """

    def __init__(self, server: RunningServer, *, receive_buffer: int | None = None) -> None:
        parts = urlsplit(server.url)
        self._socket = socket.socket()
        if receive_buffer is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._socket.settimeout(PATIENCE_S)
        self._socket.connect((parts.hostname, parts.port))

    def __enter__(self) -> Wire:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()

    def send(self, *pieces: bytes) -> None:
        """Send the pieces; a server that closes meanwhile has answered already."""
        with suppress(ConnectionError):
            for piece in pieces:
                self._socket.sendall(piece)

    def send_whole(self, data: bytes) -> None:
        """Send all of it; it is an error if the server does not take it."""
        self._socket.sendall(data)

    def receive(self, method: str = "POST") -> httpx.Response:
        """The next answer."""
        with HTTPResponse(self._socket, method=method) as response:
            response.begin()
            content = response.read()
            return httpx.Response(response.status, headers=response.getheaders(), content=content)

    def read_to_end(self) -> bytes:
        """Everything until the server closes; nothing but a close ends it."""
        received = bytearray()
        with suppress(ConnectionResetError):
            while piece := self._socket.recv(65_536):
                received += piece
        return bytes(received)

    def dribble(self, pieces: Iterable[bytes], *, pause_s: float) -> bytes:
        """Send piece by piece, with pauses, until the server answers or closes; what it says."""
        dribble_until_readable(self._socket, pieces, pause_s=pause_s)
        return self.read_to_end()

    def read_some(self, num_bytes: int) -> bytes:
        """Up to so many bytes."""
        return self._socket.recv(num_bytes)


def dribble_until_readable(
    connection: socket.socket, pieces: Iterable[bytes], *, pause_s: float
) -> None:
    """Send piece by piece, with pauses, until the other end answers or closes."""
    readable = select.poll()
    readable.register(connection, select.POLLIN)
    until = monotonic() + PATIENCE_S
    for piece in pieces:
        with suppress(ConnectionError):
            connection.sendall(piece)
        if readable.poll(pause_s * 1000):
            return
        assert monotonic() < until, "the server waits for ever"


def wait_until(is_so: Callable[[], bool]) -> None:
    """Wait for what the server does by itself, where nothing comes back that says so."""
    until = monotonic() + PATIENCE_S
    while not is_so():
        assert monotonic() < until, "it never came"
        sleep(0.01)


def ask(server: RunningServer, head: Head, body: bytes = b"") -> httpx.Response:
    """One request over a connection of its own."""
    with Wire(server) as wire:
        wire.send(head.encode() + body)
        return wire.receive(head.line.partition(" ")[0])


@contextmanager
def many(server: RunningServer, number: int) -> Iterator[list[Wire]]:
    """So many connections at once."""
    wires: list[Wire] = []
    try:
        for _ in range(number):
            wires.append(Wire(server))
        yield wires
    finally:
        for wire in wires:
            wire.__exit__(None, None, None)


def answers_of(received: bytes) -> list[Mapping[str, str]]:
    """The status lines of several answers, one behind the other, with their bodies by length."""
    answers: list[Mapping[str, str]] = []
    while received:
        head, _, received = received.partition(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (x.partition(": ") for x in lines)}
        received = received[int(headers.get("content-length", "0")) :]
        answers.append({**headers, ":status": status.split(" ")[1]})
    return answers
