"""A sender of training streams that reads its answer while it sends, as few client libraries do."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Sequence
from http.client import HTTPResponse
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from numpy.typing import NDArray
from safetensors.numpy import save

NDJSON = "application/x-ndjson"
FRAMES = "application/x-slimvec-frames"
_TIMEOUT_S = 60

Line = dict[str, Any]


def json_record(key: str | None = None, **fields: NDArray[Any] | str) -> bytes:
    """One line."""
    record = {name: x if isinstance(x, str) else x.tolist() for name, x in fields.items()}
    return json.dumps(record | ({} if key is None else {"key": key})).encode() + b"\n"


def frame(key: str | None = None, **arrays: NDArray[Any]) -> bytes:
    """One frame."""
    return with_length(save(arrays, metadata=None if key is None else {"key": key}))


def with_length(body: bytes) -> bytes:
    """A frame of any bytes."""
    return len(body).to_bytes(4, "little") + body


class StreamClient:
    """One `POST …/train-stream` on a socket of its own, chunked.

    Args:
        url: of the server.
        target: path and query.
        content_type: of the records.
        headers: further header lines.
        receive_buffer: size of the socket's own; small, so that a server soon has to wait.
    """

    def __init__(
        self,
        url: str,
        target: str = "/train-stream",
        content_type: str = NDJSON,
        *,
        headers: Sequence[str] = (),
        receive_buffer: int | None = None,
    ) -> None:
        parts = urlsplit(url)
        self.socket = socket.socket()
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(_TIMEOUT_S)
        self.socket.connect((parts.hostname, parts.port))
        head = [f"POST {target} HTTP/1.1", f"Host: {parts.netloc}", f"Content-Type: {content_type}"]
        head += ["Transfer-Encoding: chunked", *headers, "", ""]
        self.socket.sendall("\r\n".join(head).encode())
        self._response: HTTPResponse | None = None

    def __enter__(self) -> StreamClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.hang_up()

    def send(self, data: bytes) -> None:
        """Send bytes as one chunk."""
        self.socket.sendall(b"%x\r\n%b\r\n" % (len(data), data))

    def end(self) -> None:
        """Say that there is no more."""
        self.socket.sendall(b"0\r\n\r\n")

    def hang_up(self) -> None:
        """Break the connection."""
        if self._response is not None:
            self._response.close()
        self.socket.close()

    @property
    def response(self) -> HTTPResponse:
        """The answer's head; waits for it."""
        if self._response is None:
            self._response = HTTPResponse(self.socket, method="POST")
            self._response.begin()
        return self._response

    def line(self) -> Line | None:
        """The next line; None at the end of the answer."""
        text = self.response.readline()
        return json.loads(text) if text else None

    def lines(self) -> Iterator[Line]:
        """Every line up to the end of the answer."""
        while (line := self.line()) is not None:
            yield line

    def send_until_held_back(self, data: bytes, *, at_most: int) -> int:
        """Send the same bytes again and again until the socket takes no more; how many it took."""
        self.socket.settimeout(1)
        taken = 0
        try:
            while taken < at_most:
                self.send(data)
                taken += len(data)
        except TimeoutError:
            return taken
        finally:
            self.socket.settimeout(_TIMEOUT_S)
        raise AssertionError(f"{taken} bytes were taken, and the sender was never held back")
