"""A server on a real socket that misbehaves as it is told, one connection after the other."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Thread


@dataclass
class Script:
    """What was received, and where."""

    url: str = ""
    requests: list[bytes] = field(default_factory=list)


@contextmanager
def scripted(answers: Sequence[bytes | None]) -> Iterator[Script]:
    """Serve one request a connection: send these bytes and hang up.

    None hangs up before the request is read; empty bytes after it.
    """
    script = Script()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        script.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread = Thread(target=_serve, args=(listener, answers, script))
        thread.start()
        try:
            yield script
        finally:
            listener.shutdown(socket.SHUT_RDWR)  # wakes an accept that nobody answers any more
            thread.join()


def _serve(listener: socket.socket, answers: Sequence[bytes | None], script: Script) -> None:
    for answer in answers:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            if answer is not None:
                script.requests.append(_read_request(connection))
                connection.sendall(answer)


def _read_request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    missing = (int(lengths[0].split(b":")[1]) if lengths else 0) - len(body)
    while missing > 0:
        more = connection.recv(65536)
        data, missing = data + more, missing - len(more)
    return data


def response(status: str, content_type: str, body: bytes, *headers: str) -> bytes:
    """A whole HTTP answer."""
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {content_type}", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body


def chunked(*lines: str, is_whole: bool = True) -> bytes:
    """An NDJSON answer in chunks; without its end, the connection breaks in the middle."""
    head = "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked"
    chunks = [f"{len(line) + 1:x}\r\n{line}\n\r\n" for line in lines]
    return (head + "\r\n\r\n" + "".join(chunks) + "0\r\n\r\n" * is_whole).encode()
