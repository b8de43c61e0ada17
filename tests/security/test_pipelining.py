"""Rows 25 to 27: peers that hang up, do not wait, or ask for another protocol."""

from __future__ import annotations

import pytest

from tests.conftest import MODELS
from tests.problem import assert_canonical
from tests.security.catalogue.request import row_of
from tests.security.postcondition import nothing_remains
from tests.security.wire import Head, Wire, answers_of
from tests.server import RunningServer

_BODY = f'{{"hidden_states": {row_of()}}}'.encode()
_JSON = ("Content-Type: application/json", f"Content-Length: {len(_BODY)}")
_REDUCE = Head(headers=_JSON).encode() + _BODY
_LIST = Head(line="GET /models HTTP/1.1").encode()
_LAST = Head(line="GET /health/live HTTP/1.1", headers=("Connection: close",)).encode()
_UPGRADE = ("Connection: Upgrade", "Sec-WebSocket-Version: 13")
_WEBSOCKET = (*_UPGRADE, "Upgrade: websocket", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")


@pytest.mark.parametrize("rest", [_BODY[:-1], b""], ids=["within-the-body", "before-the-body"])
@pytest.mark.parametrize("path", ["/reduce", "/train-step", "/models/small/fit"])
def test_row_25_a_peer_that_hangs_up_within_its_request_changes_nothing(
    server: RunningServer, caplog: pytest.LogCaptureFixture, path: str, rest: bytes
) -> None:
    with nothing_remains(server, caplog), Wire(server) as wire:
        wire.send(Head(line=f"POST {path} HTTP/1.1", headers=_JSON).encode() + rest)


def test_row_25_a_peer_that_hangs_up_before_its_answer_leaves_nothing_behind(
    server: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    with nothing_remains(server, caplog):
        for _ in range(20):
            with Wire(server) as wire:
                wire.send(_REDUCE)


def test_row_26_requests_that_do_not_wait_are_answered_in_order(server: RunningServer) -> None:
    with Wire(server) as wire:
        wire.send(_LIST + _REDUCE + Head(line="GET /nothing HTTP/1.1").encode() + _REDUCE + _LAST)
        answers = answers_of(wire.read_to_end())
    assert [answer[":status"] for answer in answers] == ["200", "200", "404", "200", "200"]
    assert [answer.get("connection") for answer in answers] == [None] * 4 + ["close"]


@pytest.mark.parametrize("request_", [_LIST, _REDUCE], ids=["get", "post"])
def test_row_26_ten_thousand_that_do_not_wait_are_answered_in_order_or_closed(
    server: RunningServer, caplog: pytest.LogCaptureFixture, request_: bytes
) -> None:
    with nothing_remains(server, caplog), Wire(server) as wire:
        wire.send(request_ * 10_000)
        answers = answers_of(wire.read_to_end())
    assert {answer[":status"] for answer in answers} == {"200"}
    assert len(answers) == 10_000 or answers[-1]["connection"] == "close"


def test_a_broken_request_behind_a_good_one_is_refused_behind_its_answer(
    server: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    with nothing_remains(server, caplog), Wire(server) as wire:
        wire.send(_LIST + _REDUCE + b"\x00\x01\x02")
        answers = answers_of(wire.read_to_end())
    assert [answer[":status"] for answer in answers] == ["200", "200", "400"]


@pytest.mark.parametrize("request_", [_LIST, _REDUCE], ids=["get", "post"])
def test_a_broken_request_behind_as_many_as_may_wait_is_refused_behind_their_answers(
    server: RunningServer, caplog: pytest.LogCaptureFixture, request_: bytes
) -> None:
    with nothing_remains(server, caplog), Wire(server) as wire:
        wire.send(_LIST + request_ * 64 + b"\x00\x01\x02")
        answers = answers_of(wire.read_to_end())
    assert [answer[":status"] for answer in answers] == ["200"] * 65 + ["400"]


def test_what_stands_behind_a_last_request_is_not_read(server: RunningServer) -> None:
    with Wire(server) as wire:
        wire.send(_LAST + _LIST + b"\x00")
        assert [answer[":status"] for answer in answers_of(wire.read_to_end())] == ["200"]


def test_headers_behind_a_body_are_dropped(server: RunningServer) -> None:
    head = Head(headers=("Content-Type: application/json", "Transfer-Encoding: chunked"))
    trailer = b"Host: evil.example\r\nA: b\r\n\r\n"
    with Wire(server) as wire:
        wire.send(head.encode() + b"%x\r\n%b\r\n0\r\n" % (len(_BODY), _BODY) + trailer + _LAST)
        answers = answers_of(wire.read_to_end())
    assert [answer[":status"] for answer in answers] == ["200", "200"]


@pytest.mark.parametrize("path", ["/reduce", "/models", "/nothing", "/models/small/reduce"])
def test_row_27_a_websocket_anywhere_else_is_refused(
    server: RunningServer, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    with nothing_remains(server, caplog), Wire(server) as wire:
        wire.send(Head(line=f"GET {path} HTTP/1.1", headers=_WEBSOCKET).encode())
        assert_canonical(wire.receive("GET"), 404, "route_not_found")
        assert wire.read_to_end() == b""


def test_row_27_an_upgrade_to_another_protocol_is_not_made(
    server: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    head = Head(line="GET /models HTTP/1.1", headers=(*_UPGRADE, "Upgrade: h2c"))
    with nothing_remains(server, caplog), Wire(server) as wire:
        wire.send(head.encode() + b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        answer = wire.receive("GET")
        assert [model["model"] for model in answer.json()["models"]] >= sorted(MODELS)
        assert wire.read_to_end() == b""


def test_row_27_an_upgrade_behind_a_request_that_is_not_answered_is_refused(
    server: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    upgrade = Head(line="GET /train-stream HTTP/1.1", headers=_WEBSOCKET).encode()
    with nothing_remains(server, caplog), Wire(server) as wire:
        wire.send(_LIST + upgrade)
        answers = answers_of(wire.read_to_end())
    assert [answer[":status"] for answer in answers] == ["200", "400"]


@pytest.mark.parametrize(
    ("line", "header"),
    [
        ("GET /train-stream HTTP/1.1", "Content-Length: 5"),
        ("GET /train-stream HTTP/1.1", "Transfer-Encoding: chunked"),
        ("POST /train-stream HTTP/1.1", "A: b"),
    ],
    ids=["length", "chunks", "post"],
)
def test_row_27_a_websocket_is_asked_for_by_a_get_without_a_body(
    server: RunningServer, caplog: pytest.LogCaptureFixture, line: str, header: str
) -> None:
    with nothing_remains(server, caplog), Wire(server) as wire:
        wire.send(Head(line=line, headers=(*_WEBSOCKET, header)).encode() + b"0\r\n\r\n")
        assert_canonical(wire.receive(), 400, "bad_request")
        assert wire.read_to_end() == b""


def test_row_27_a_head_that_the_websocket_library_does_not_read_is_not_waited_for(
    server: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    head = Head(line="GET /train-stream HTTP/1.1", headers=(*_WEBSOCKET, f"A: {'a' * 9000}"))
    with nothing_remains(server, caplog), Wire(server) as wire:
        wire.send(head.encode())
        assert wire.read_to_end().startswith(b"HTTP/1.1 431 ")
