"""WebSocket /train-stream: a record a message, an acknowledgement a message."""

from __future__ import annotations

import gc
import json
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from itertools import chain, repeat
from threading import Event
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.sync.client import ClientConnection, connect

from app.api.streams.protocol import BoundedWebSocket
from tests.conftest import ModelFactory, ServerFactory
from tests.contract.wire import some_rows
from tests.server import RunningServer, create, declare

_ROWS = some_rows(6, 8)
_GOOD = json.dumps({"hidden_states": _ROWS.tolist()})


def _open(
    server: RunningServer, target: str = "/train-stream", headers: Mapping[str, str] | None = None
) -> AbstractContextManager[ClientConnection]:
    url = server.url.replace("http", "ws") + target
    return connect(url, compression=None, max_size=None, additional_headers=headers)


def _of(model: str) -> str:
    return f"/models/{model}/train-stream"


def _text(rows: np.ndarray[Any, Any], key: str | None = None) -> str:
    return json.dumps({"hidden_states": rows.tolist()} | ({"key": key} if key else {}))


def _binary(rows: np.ndarray[Any, Any], key: str | None = None) -> bytes:
    return save({"hidden_states": rows}, metadata={"key": key} if key else None)


_ENCODINGS: tuple[Callable[..., str | bytes], ...] = (_text, _binary)


def _state(server: RunningServer, model: str) -> tuple[int, str]:
    state = server.http.get(f"/models/{model}/state").json()
    return state["version"], state["state_digest"]


def _told(connection: ClientConnection) -> tuple[list[dict[str, Any]], int | None]:
    """Every message until the close, and its code."""
    messages = []
    try:
        while True:
            messages.append(json.loads(connection.recv()))
    except ConnectionClosed as closed:
        return messages, closed.rcvd.code if closed.rcvd else None


@pytest.mark.parametrize("encode", _ENCODINGS)
def test_every_message_has_an_acknowledgement_of_its_own_in_order(
    server: RunningServer, new_model: ModelFactory, encode: Callable[..., str | bytes]
) -> None:
    model = new_model()
    with _open(server, _of(model)) as connection:
        for _ in range(100):
            connection.send(encode(_ROWS))
        acks = [json.loads(connection.recv()) for _ in range(100)]
    assert [ack["ack"] for ack in acks] == list(range(1, 101))
    assert [ack["version"] for ack in acks] == list(range(2, 102))
    assert _state(server, model)[0] == 101


def test_text_and_binary_messages_make_the_same_steps(
    server: RunningServer, new_model: ModelFactory
) -> None:
    models = new_model(), new_model()
    for model, encode in zip(models, _ENCODINGS, strict=True):
        with _open(server, _of(model)) as connection:
            connection.send(encode(_ROWS))
            connection.recv()
    assert _state(server, models[0]) == _state(server, models[1])


def test_a_message_in_many_small_pieces_is_one_record(
    server: RunningServer, new_model: ModelFactory
) -> None:
    with _open(server, _of(new_model())) as connection:
        connection.send(iter(_GOOD))
        assert json.loads(connection.recv())["ack"] == 1


def test_small_pieces_take_no_memory_of_their_own(
    server: RunningServer, new_model: ModelFactory
) -> None:
    pieces = [Frame(Opcode.TEXT, b"[", fin=False), *[Frame(Opcode.CONT, b"1,", fin=False)] * 2000]
    with _unread(server, _of(new_model())) as connection:
        for frame in (*pieces, Frame(Opcode.PING, b"everything was read")):
            connection.sendall(frame.serialize(mask=True))
        while b"everything was read" not in connection.recv(4096):
            pass
        protocols = [it for it in gc.get_objects() if type(it) is BoundedWebSocket]
        assert [len(it.frames) for it in protocols if it.frames] == [1]


def test_a_refused_message_is_the_last_and_the_connection_closes(
    server: RunningServer, new_model: ModelFactory
) -> None:
    model = new_model()
    with _open(server, _of(model)) as connection:
        for message in (_GOOD, "{}", _GOOD, _GOOD):
            connection.send(message)
        (ack, refusal), code = _told(connection)
    assert (ack["ack"], refusal["record"], refusal["error"]["code"]) == (1, 2, "missing_field")
    assert (code, _state(server, model)[0]) == (1008, 2)


def test_refused_messages_are_passed_over_when_asked_for(
    server: RunningServer, new_model: ModelFactory
) -> None:
    with _open(server, _of(new_model()) + "?on_error=skip") as connection:
        for message in ("{}", _GOOD, "nonsense"):
            connection.send(message)
        messages = [json.loads(connection.recv()) for _ in range(5)]
    assert [message.get("ack") for message in messages] == [None, 1, 2, None, 3]


def test_a_key_is_applied_once_whatever_it_comes_through(
    server: RunningServer, new_model: ModelFactory
) -> None:
    model = new_model()
    for encode in _ENCODINGS:
        with _open(server, _of(model)) as connection:
            connection.send(encode(_ROWS, "a-key"))
            assert json.loads(connection.recv())["version"] == 2
    assert _state(server, model)[0] == 2


def test_a_loss_in_the_query_is_that_of_binary_messages(
    server: RunningServer, new_model: ModelFactory
) -> None:
    with _open(server, _of(new_model()) + "?loss=nonsense") as connection:
        connection.send(_GOOD)
        connection.send(_binary(_ROWS))
        (ack, refusal), _ = _told(connection)
    assert (ack["ack"], refusal["error"]["code"]) == (1, "config_invalid")


@pytest.mark.parametrize(
    ("message", "codes"),
    [
        (" " * 5000, ["body_too_large"]),  # over the limit of JSON: known when it is whole
        (b" " * 9000, []),  # over that of binary bodies: the frame's head says so
        (_binary(some_rows(200, 8)), ["ack"]),
    ],
    ids=["text", "binary", "within"],
)
def test_a_message_over_the_limit_closes_with_1009(
    start_server: ServerFactory, message: str | bytes, codes: list[str]
) -> None:
    server = start_server(max_json_body_bytes=4096, max_binary_body_bytes=8192)
    create(server, "small", declare(8, 3))
    with _open(server) as connection:
        connection.send(message)
        if codes != ["ack"]:
            messages, code = _told(connection)
            assert (code, [m["error"]["code"] for m in messages]) == (1009, codes)
        else:
            assert json.loads(connection.recv())["ack"] == 1


@pytest.mark.parametrize(
    ("target", "headers", "status", "code"),
    [
        ("/reduce", {}, 404, "route_not_found"),
        ("/", {}, 404, "route_not_found"),
        ("/models/small/train-step", {}, 404, "route_not_found"),
        ("/models/absent/train-stream", {}, 404, "model_not_found"),
        ("/train-stream?on_error=go", {}, 422, "out_of_range"),
        ("/train-stream", {"Origin": "https://evil.example"}, 403, "origin_not_allowed"),
        ("/train-stream", {"Origin": "null"}, 403, "origin_not_allowed"),
    ],
)
def test_a_handshake_that_is_refused_has_the_answer_of_any_refusal(
    server: RunningServer,
    target: str,
    headers: dict[str, str],
    status: int,
    code: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(InvalidStatus) as refused, _open(server, target, headers):
        pass
    answer = refused.value.response
    assert (answer.status_code, answer.headers["content-type"]) == (
        status,
        "application/problem+json",
    )
    problem = json.loads(answer.body)
    assert (problem["code"], problem["instance"]) == (code, answer.headers["request-id"])
    server.http.get("/health/live")  # whatever is logged about the handshake is logged by now
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


def test_a_page_of_this_server_may_open_one(server: RunningServer) -> None:
    with _open(server, headers={"Origin": server.url}) as connection:
        assert connection.response is not None
        assert connection.response.headers["request-id"]


def test_what_was_sent_before_a_lost_connection_is_applied_once(
    server: RunningServer, new_model: ModelFactory
) -> None:
    model = new_model()
    batches = [np.roll(_ROWS, number, axis=1) for number in range(8)]
    with _open(server, _of(model)) as connection:
        for number in range(5):
            connection.send(_binary(batches[number], f"k-{number}"))
        connection.recv()
        connection.socket.shutdown(socket.SHUT_RDWR)
    with _open(server, _of(model)) as again:
        for number, batch in enumerate(batches):
            again.send(_binary(batch, f"k-{number}"))
        acks = [json.loads(again.recv()) for _ in batches]
    assert [ack["version"] for ack in acks] == list(range(2, 10))


def test_a_sender_that_never_pauses_is_held_back(
    server: RunningServer, new_model: ModelFactory
) -> None:
    model, release = new_model(), Event()
    held = server.service.live(model).ask(release.wait)
    with _unread(server, _of(model)) as connection:
        record = _wire(_binary(some_rows(4096, 8)))
        taken = _send_until_held_back(connection, repeat(record))
        release.set()
    assert taken < 32 << 20
    assert held.result()


def test_a_sender_that_does_not_read_its_acknowledgements_is_held_back(
    server: RunningServer, new_model: ModelFactory
) -> None:
    with _unread(server, _of(new_model()) + "?on_error=skip") as connection:
        records = _wire(b"\xff" * 1024) * 100  # refused at once, with an answer of half the size
        assert _send_until_held_back(connection, repeat(records)) < 32 << 20


@pytest.mark.parametrize("num_records", [0, 30])
def test_a_sender_of_pings_that_does_not_read_the_pongs_is_held_back(
    server: RunningServer, new_model: ModelFactory, num_records: int
) -> None:
    pings = _wire(b"x" * 125, Opcode.PING) * 2000
    records = [_wire(_GOOD.encode(), Opcode.TEXT) + pings] * num_records
    with _unread(server, _of(new_model())) as connection:
        assert _send_until_held_back(connection, chain(records, repeat(pings)))


def _wire(body: bytes, opcode: Opcode = Opcode.BINARY) -> bytes:
    """A message as it travels from a client."""
    return Frame(opcode, body).serialize(mask=True)


@contextmanager
def _unread(server: RunningServer, target: str) -> Iterator[socket.socket]:
    """A connection whose answers nobody reads: the client library would read them for us."""
    netloc = server.url.removeprefix("http://")
    host, port = netloc.split(":")
    head = (
        f"GET {target} HTTP/1.1\r\nHost: {netloc}\r\nConnection: Upgrade\r\n"
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect((host, int(port)))
        connection.sendall(head.encode())
        assert connection.recv(12) == b"HTTP/1.1 101"
        yield connection


def _send_until_held_back(connection: socket.socket, parts: Iterator[bytes]) -> int:
    """Send until the socket takes no more; how many bytes it took."""
    connection.settimeout(1)
    taken = 0
    try:
        while taken < 64 << 20:
            part = next(parts)
            connection.sendall(part)
            taken += len(part)
    except TimeoutError:
        return taken
    raise AssertionError(f"{taken} bytes were taken, and the sender was never held back")
