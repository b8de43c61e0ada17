"""Statement 7: what is in flight is bounded; the surplus is refused at once, and told when to come.

A request that is refused for its head alone shows that nothing waits for a body.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.conftest import MODELS, ServerFactory
from tests.problem import assert_canonical
from tests.security.catalogue.request import row_of
from tests.security.postcondition import assert_golden, resident_bytes
from tests.security.wire import Head, Wire, many, wait_until
from tests.server import RunningServer, create
from tests.stream import StreamClient

_JSON = "Content-Type: application/json"
_BODY = f'{{"hidden_states": {row_of()}}}'.encode()
_MIB = 1 << 20
_HANDSHAKE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
_LOOKS = ("/models", "/models/small", "/health/live", "/health/ready", "/metrics", "/docs")


@pytest.fixture
def server(start_server: ServerFactory) -> RunningServer:
    """Room for two requests, and for one body of a megabyte."""
    running = start_server(max_concurrent_requests=2, max_bytes_in_flight=8 * _MIB)
    create(running, "small", MODELS["small"])
    return running


@contextmanager
def _full(server: RunningServer, num_bytes: int) -> Iterator[None]:
    """Two requests whose bodies do not come."""
    head = Head(headers=(_JSON, f"Content-Length: {num_bytes}")).encode()
    with many(server, 2) as wires:
        for wire in wires:
            wire.send(head)
        wait_until(lambda: server.service.admission.in_flight == 2)
        yield
    wait_until(lambda: server.service.admission.in_flight == 0)


@contextmanager
def _websocket(server: RunningServer) -> Iterator[Wire]:
    """A stream that is open, for frames by hand (their mask is zero)."""
    with Wire(server) as wire:
        wire.send(Head(line="GET /train-stream HTTP/1.1", headers=_HANDSHAKE).encode())
        received = b""
        while not received.endswith(b"\r\n\r\n"):
            received += wire.read_some(1)
        yield wire


@pytest.mark.parametrize("path", ["/reduce", "/train-step", "/models/small/fit"])
def test_a_request_too_many_is_refused_before_its_body(server: RunningServer, path: str) -> None:
    head = Head(line=f"POST {path} HTTP/1.1", headers=(_JSON, "Content-Length: 100")).encode()
    with _full(server, 50), Wire(server) as wire:
        wire.send(head)
        refused = wire.receive()
    assert_canonical(refused, 429, "overloaded")
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert_golden(server)


def test_looks_and_probes_are_answered_under_overload(server: RunningServer) -> None:
    with _full(server, 50):
        assert [server.http.get(path).status_code for path in _LOOKS] == [200] * len(_LOOKS)


def test_bytes_too_many_are_refused_before_they_come(server: RunningServer) -> None:
    head = Head(headers=(_JSON, f"Content-Length: {_MIB}")).encode()
    with Wire(server) as first, Wire(server) as second:
        first.send(head)
        wait_until(lambda: server.service.admission.in_flight == 1)
        second.send(head)
        assert_canonical(second.receive(), 429, "overloaded")
        assert_golden(server)


def test_whoever_sends_its_whole_body_first_reads_the_refusal_all_the_same(
    server: RunningServer,
) -> None:
    head = Head(headers=(_JSON, f"Content-Length: {32 * _MIB}")).encode()
    with _full(server, 50), Wire(server) as wire:
        wire.send_whole(head + bytes(32 * _MIB))  # more than sockets hold: somebody reads it
        answer = wire.receive()
        assert_canonical(answer, 429, "overloaded")
        assert answer.headers["connection"] == "close"
        assert wire.read_to_end() == b""


def test_a_short_body_behind_a_refusal_leaves_the_connection_open(server: RunningServer) -> None:
    request = Head(headers=(_JSON, f"Content-Length: {len(_BODY)}")).encode() + _BODY
    with _full(server, 50), Wire(server) as wire:
        for _ in range(3):
            wire.send(request)
            assert_canonical(wire.receive(), 429, "overloaded")


def test_what_waits_in_a_stream_counts(server: RunningServer) -> None:
    admission = server.service.admission
    with StreamClient(server.url) as stream:
        stream.send(b'{"hidden_states": [[' + b"0," * (_MIB // 4))
        wait_until(lambda: admission.num_bytes > _MIB)
        stream.send(b"0]]}\n")
        assert (stream.line() or {})["error"]["code"] == "shape_mismatch"
        wait_until(lambda: admission.num_bytes < _MIB)
    wait_until(lambda: admission.in_flight == 0)
    assert admission.num_bytes == 0


def test_a_stream_for_whose_record_there_is_no_room_is_ended(server: RunningServer) -> None:
    head = Head(headers=(_JSON, f"Content-Length: {_MIB}")).encode()
    with Wire(server) as other, StreamClient(server.url) as stream:
        other.send(head)
        wait_until(lambda: server.service.admission.num_bytes >= 6 * _MIB)
        stream.send(b'{"hidden_states": [[' + b"0," * (_MIB // 2))
        line = stream.line() or {}
        assert (line["record"], line["error"]["code"]) == (1, "overloaded")


def test_what_has_come_of_a_message_counts(server: RunningServer) -> None:
    admission = server.service.admission
    with _websocket(server) as wire:
        wire.send(b"\x82\xff" + (4 * _MIB).to_bytes(8, "big") + bytes(4) + bytes(2 * _MIB))
        wait_until(lambda: admission.num_bytes >= 2 * _MIB)
    wait_until(lambda: admission.num_bytes == 0)


def test_a_message_for_whose_rest_there_is_no_room_ends_its_websocket(
    server: RunningServer,
) -> None:
    head = Head(headers=(_JSON, f"Content-Length: {_MIB}")).encode()
    with Wire(server) as other, _websocket(server) as wire:
        other.send(head)
        wait_until(lambda: server.service.admission.num_bytes >= 6 * _MIB)
        wire.send(b"\x82\xff" + (4 * _MIB).to_bytes(8, "big") + bytes(4) + bytes(3 * _MIB))
        assert wire.read_to_end()[:4] == b"\x88\x02" + (1013).to_bytes(2, "big")


def test_a_message_that_is_no_text_ends_its_websocket(
    server: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    with _websocket(server) as wire:
        wire.send(b"\x81\x82" + bytes(4) + b"\xff\xff")
        assert wire.read_to_end()[:4] == b"\x88\x02" + (1007).to_bytes(2, "big")
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


@pytest.mark.parametrize("framing", [f"Content-Length: {8 * _MIB}", "Transfer-Encoding: chunked"])
def test_bodies_that_come_slowly_take_no_more_memory_than_allowed(
    server: RunningServer, framing: str
) -> None:
    head, admission = Head(headers=(_JSON, framing)).encode(), server.service.admission
    most = b" " * (8 * _MIB - 1)
    most = b"%x\r\n%b" % (8 * _MIB, most) if "chunked" in framing else most
    before = resident_bytes()
    with many(server, 40) as wires:
        for wire in wires:  # all but the last byte of each
            wire.send(head, most)
        wait_until(lambda: admission.in_flight < 2)
        assert resident_bytes() - before < 64 * _MIB
    wait_until(lambda: admission.num_bytes == 0)


def test_a_full_queue_of_train_steps_says_when_to_come_again(start_server: ServerFactory) -> None:
    server = start_server(train_queue=1)
    create(server, "small", MODELS["small"])
    head = Head(line="POST /train-step HTTP/1.1", headers=(_JSON, f"Content-Length: {len(_BODY)}"))
    refusals = []
    with many(server, 8) as wires:
        for wire in wires:
            wire.send(head.encode() + _BODY)
        refusals += [answer for answer in (wire.receive() for wire in wires) if answer.is_error]
    for answer in refusals:
        assert_canonical(answer, 429, "queue_full")
        assert 1 <= int(answer.headers["retry-after"]) <= 60
