"""Rows 9 to 12: whoever takes too long, or one connection too many, is not waited for."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat
from time import sleep

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.conftest import MODELS, ServerFactory
from tests.problem import assert_canonical
from tests.security.catalogue.request import NPY, declared, npy
from tests.security.postcondition import assert_golden, nothing_remains, open_sockets
from tests.security.wire import Head, Wire, dribble_until_readable, many, wait_until
from tests.server import RunningServer, create, serving
from tests.stream import StreamClient

_CONNECTIONS = 250
_LIST = Head(line="GET /models HTTP/1.1").encode()
_JSON = "Content-Type: application/json"
_PAUSE_S = 0.1


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that waits for nothing longer than it takes to notice."""
    with serving(
        tmp_path_factory.mktemp("models"),
        header_timeout_s=1.0,
        body_idle_timeout_s=1.0,
        body_timeout_s=1.5,
        keep_alive_s=2.0,
    ) as running:
        for name, document in MODELS.items():
            create(running, name, document)
        yield running


@pytest.mark.parametrize(
    "sent",
    [b"", b"\r\n\r\n", b"G", b"GET /models HTT", _LIST[:-2], _LIST[:-4] + b"\r\nA: b"],
    ids=["nothing", "empty-lines", "a-letter", "a-line", "all-but-the-end", "a-header"],
)
def test_rows_10_and_11_a_head_that_never_ends_is_closed_without_an_answer(
    server: RunningServer, caplog: pytest.LogCaptureFixture, sent: bytes
) -> None:
    with nothing_remains(server, caplog), Wire(server) as wire:
        wire.send(sent)
        assert wire.read_to_end() == b""


@pytest.mark.parametrize("first", [b"", b"GET /models HTTP/1.1\r\nA: "], ids=["blank", "header"])
def test_row_10_a_head_that_comes_byte_by_byte_is_closed(
    server: RunningServer, caplog: pytest.LogCaptureFixture, first: bytes
) -> None:
    dribble = repeat(b"\r\n" if not first else b"a")
    with nothing_remains(server, caplog), Wire(server) as wire:
        wire.send(first)
        assert wire.dribble(dribble, pause_s=_PAUSE_S) == b""


def test_a_connection_that_asks_nothing_more_is_closed(
    server: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    with nothing_remains(server, caplog), Wire(server) as wire:
        wire.send(_LIST)
        assert wire.receive("GET").status_code == 200
        assert wire.read_to_end() == b""


@pytest.mark.parametrize("path", ["/reduce", "/train-step", "/models/small/fit"])
@pytest.mark.parametrize("framing", ["Content-Length: 100", "Transfer-Encoding: chunked"])
def test_row_9_a_body_that_stops_is_refused_and_the_connection_closed(
    server: RunningServer, caplog: pytest.LogCaptureFixture, path: str, framing: str
) -> None:
    head = Head(line=f"POST {path} HTTP/1.1", headers=(_JSON, framing)).encode()
    with nothing_remains(server, caplog), Wire(server) as wire:
        wire.send(head, b'20\r\n{"hidden_states": ')
        assert_canonical(wire.receive(), 408, "body_too_slow")
        assert wire.read_to_end() == b""


def test_row_9_a_body_that_comes_byte_by_byte_is_refused(
    server: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    head = Head(headers=(_JSON, "Content-Length: 1000")).encode()
    with nothing_remains(server, caplog), Wire(server) as wire:
        wire.send(head)
        assert wire.dribble(repeat(b" "), pause_s=_PAUSE_S).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("sent", [b"", b'{"hidden_states": [[1'], ids=["between", "within"])
def test_a_stream_that_stops_is_ended_by_a_last_line(
    server: RunningServer, caplog: pytest.LogCaptureFixture, sent: bytes
) -> None:
    with nothing_remains(server, caplog), StreamClient(server.url) as stream:
        stream.send(b"\n" + sent)
        (line,) = stream.lines()
        assert (line["record"], line["error"]["code"]) == (1, "body_too_slow")


def test_a_record_that_comes_byte_by_byte_ends_its_stream(server: RunningServer) -> None:
    with StreamClient(server.url) as stream:
        stream.send(b"{")
        assert stream.response.status == 200
        dribble_until_readable(stream.socket, repeat(b"1\r\n \r\n"), pause_s=_PAUSE_S)
        line = stream.line() or {}
        assert (line["record"], line["error"]["code"]) == (1, "body_too_slow")


def test_a_stream_lasts_as_long_as_its_records_come(server: RunningServer) -> None:
    with StreamClient(server.url) as stream:
        for _ in range(30):  # together longer than any deadline of a body
            stream.send(b"\n")
            sleep(_PAUSE_S)
        stream.end()
        assert list(stream.lines()) == []


def test_a_websocket_that_says_nothing_is_closed(
    server: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    url = server.url.replace("http", "ws") + "/train-stream"
    with nothing_remains(server, caplog), connect(url, compression=None) as connection:
        assert '"stream_idle"' in str(connection.recv())
        with pytest.raises(ConnectionClosed) as closed:
            connection.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1008


def test_an_answer_that_nobody_reads_is_counted_and_given_up(
    server: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    admission = server.service.admission
    with Wire(server) as wire:  # what the allocator and the threads keep, they keep now
        wire.send(*_request_with_a_large_answer())
        assert wire.receive().status_code == 200
    with nothing_remains(server, caplog), Wire(server, receive_buffer=2048) as wire:
        wire.send(*_request_with_a_large_answer())
        assert wire.read_some(8) == b"HTTP/1.1"
        wait_until(lambda: not admission.in_flight)
        assert admission.num_bytes > 100_000
        wait_until(lambda: admission.num_bytes == 0)


def test_row_12_with_more_connections_than_allowed_a_request_is_still_answered(
    start_server: ServerFactory, caplog: pytest.LogCaptureFixture
) -> None:
    server = start_server(header_timeout_s=300, max_connections=_CONNECTIONS)
    for name, document in MODELS.items():
        create(server, name, document)
    with nothing_remains(server, caplog):
        before = open_sockets()
        with many(server, 4 * _CONNECTIONS) as wires:
            assert_golden(server)
            with Wire(server) as wire:
                wire.send(_LIST)
                assert wire.receive("GET").status_code == 200
            wait_until(lambda: open_sockets() <= before + len(wires) + _CONNECTIONS)


def _request_with_a_large_answer() -> tuple[bytes, bytes]:
    """Head and body; the answer is more than two sockets hold."""
    body = npy(declared(np.ones((30_000, 384), np.float16)))
    headers = (f"Content-Type: {NPY}", f"Content-Length: {len(body)}")
    return Head(line="POST /models/wide/reduce HTTP/1.1", headers=headers).encode(), body
