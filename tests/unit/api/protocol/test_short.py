from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections.abc import Callable, Coroutine, Iterable
from itertools import pairwise
from typing import Any, cast

import numpy as np
import pytest
import uvicorn
from uvicorn.server import ServerState

from app.api.answer import Answer
from app.api.asgi import Receive, Scope, read_body
from app.api.context import RequestContext
from app.api.edge import Edge, RawRoute
from app.api.gate import Gate
from app.api.protocol.limits import Limits
from app.api.protocol.short import ShortCycle, ShortHttp
from app.codecs import CODECS, BodySchema
from app.codecs.tensors import pack
from app.engine import Admission, Engine, choose_device
from app.errors import NotFound
from app.service import Service
from app.settings import Settings
from app.storage.repository import Repository
from app.telemetry import Metrics

SCHEMA = BodySchema(arrays=frozenset({"hidden_states"}), options=frozenset(), max_rows=1 << 20)


class Peer:
    """The other end: keeps what is written to it."""

    def __init__(self) -> None:
        self.received = b""
        self.is_closed = self.has_heard_the_end = False

    def get_extra_info(self, name: str) -> tuple[str, int] | None:
        return ("127.0.0.1", 8000) if name in ("sockname", "peername") else None

    def write(self, part: bytes) -> None:
        self.received += part

    def writelines(self, parts: Iterable[bytes]) -> None:
        self.received += b"".join(parts)

    def resume_reading(self) -> None:
        pass

    def write_eof(self) -> None:
        self.has_heard_the_end = True

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True


def connect(
    route: RawRoute, metrics: Metrics | None = None, *, protocol: type[ShortHttp] = ShortHttp
) -> tuple[ShortHttp, Peer]:
    """A connection on which this route answers everything."""
    settings = Settings()
    service = Service(
        Engine(choose_device("cpu"), settings), Repository(settings.models_dir), settings
    )
    edge = Edge(service, settings, metrics or Metrics(), Gate(settings))
    context = RequestContext(_nothing_else, edge, lambda _: (route, "m"))
    config = uvicorn.Config(context, lifespan="off", log_config=None, proxy_headers=False)
    config.load()
    limits = Limits.of(settings, max_connections=8)
    connection = protocol(limits, service.admission, config, ServerState(), {})
    peer = Peer()
    connection.connection_made(cast(asyncio.Transport, peer))
    return connection, peer


async def _nothing_else(*_: object) -> None:
    raise AssertionError("the route answers everything")


def request(body: bytes) -> bytes:
    return b"POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b" % (
        len(body),
        body,
    )


def run(script: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(script())


async def echo(_edge: Edge, _model: str, scope: Scope, receive: Receive) -> Answer:
    return Answer(bytes(await read_body(scope, receive, 64 << 20)), {})


async def count_rows(_edge: Edge, _model: str, scope: Scope, receive: Receive) -> Answer:
    body = await read_body(scope, receive, 64 << 20)
    arrays = CODECS["application/x-safetensors"].decode(body, SCHEMA).arrays
    return Answer(b"%d" % len(arrays["hidden_states"]), {})


def test_what_needs_no_waiting_is_answered_before_the_parser_returns() -> None:
    async def script() -> None:
        connection, peer = connect(echo)
        connection.data_received(request(b"at once"))
        assert peer.received.endswith(b"\r\n\r\nat once")
        assert not connection.tasks

    run(script)


@pytest.mark.parametrize("sizes", [(1,), (30, 31), (60,), (56, 57, 58), (64, 65)])
def test_a_request_in_pieces_is_answered_with_its_last_one(sizes: tuple[int, ...]) -> None:
    async def script() -> None:
        connection, peer = connect(echo)
        whole, begin = request(b"0123456789"), 0
        for end in sizes:
            connection.data_received(whole[begin:end])
            begin = end
        assert not peer.received
        connection.data_received(whole[begin:])
        assert peer.received.endswith(b"\r\n\r\n0123456789")

    run(script)


def test_what_waits_goes_on_when_that_is_there() -> None:
    async def script() -> None:
        gate: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        async def waiting(*_: Any) -> Answer:
            return Answer(await gate, {})

        connection, peer = connect(waiting)
        connection.data_received(request(b""))
        assert (peer.received, len(connection.tasks)) == (b"", 1)
        gate.set_result(b"later")
        await asyncio.sleep(0)
        assert peer.received.endswith(b"\r\n\r\nlater")
        assert not connection.tasks

    run(script)


def test_the_end_of_the_drain_cuts_off_what_waits_and_says_so() -> None:
    async def script() -> None:
        async def forever(*_: Any) -> Answer:
            never: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
            return await never

        connection, peer = connect(forever)
        connection.data_received(request(b""))
        for under_way in list(connection.tasks):
            under_way.cancel("as uvicorn does")
        await asyncio.sleep(0)
        assert peer.received.startswith(b"HTTP/1.1 503 ")
        assert b"outcome_unknown" in peer.received

    run(script)


@pytest.mark.parametrize("sent", [40, 60], ids=["in-the-head", "in-the-body"])
def test_a_client_that_goes_before_its_request_is_whole_is_counted_and_not_answered(
    sent: int,
) -> None:
    async def script() -> None:
        metrics = Metrics()
        connection, peer = connect(echo, metrics)
        connection.data_received(request(b"never whole")[:sent])
        connection.connection_lost(None)
        is_counted = b'slimvec_requests_total{status="499"} 1.0' in metrics.render()
        assert (peer.received, is_counted) == (b"", sent == 60)

    run(script)


def test_behind_a_refusal_of_a_long_body_the_connection_ends_and_does_not_break_off() -> None:
    async def script() -> None:
        async def refusing(*_: Any) -> Answer:
            raise NotFound("model_not_found", "there is none")

        connection, peer = connect(refusing)
        connection.data_received(request(bytes(2 << 20))[:1000])
        assert peer.received.startswith(b"HTTP/1.1 404 ")
        assert b"\r\nconnection: close\r\n" in peer.received
        assert (peer.has_heard_the_end, peer.is_closed) == (True, False)

    run(script)


def test_a_fault_of_the_context_itself_closes_the_connection(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken(Metrics):
        def observe(self, status: int, elapsed_s: float) -> None:
            raise ValueError("a fault behind the last handler")

    async def script() -> None:
        connection, peer = connect(echo, Broken())
        connection.data_received(request(b"1"))
        assert (peer.received, peer.is_closed) == (b"", True)

    run(script)
    assert "a fault behind the last handler" in caplog.text


# Copies; see Note [Copies of a body]


def test_a_body_in_one_piece_reaches_the_route_as_the_parser_made_it() -> None:
    async def script() -> None:
        connection, _ = connect(echo)
        cycle, piece = ShortCycle(connection, keeps_alive=True), bytes(100_000)
        cycle.take(piece)
        cycle.more_body = False
        assert (await cycle)["body"] is piece

    run(script)


def test_the_values_of_a_tensor_are_the_bytes_of_the_body() -> None:
    body = pack({"hidden_states": np.ones((64, 768), np.float32)}, {})
    array = CODECS["application/x-safetensors"].decode(body, SCHEMA).arrays["hidden_states"]
    assert np.shares_memory(array, np.frombuffer(body, np.uint8))


@pytest.mark.parametrize(("num_pieces", "copies"), [(1, 1), (8, 2)])
def test_a_body_is_in_memory_once_for_the_parser_and_once_to_be_whole(
    num_pieces: int, copies: int
) -> None:
    async def script() -> None:
        connection, peer = connect(count_rows)
        body = pack({"hidden_states": np.ones((4096, 512), np.float32)}, {})
        whole = request(body)
        cuts = np.linspace(0, len(whole), num_pieces + 1, dtype=int)
        pieces = [whole[a:b] for a, b in pairwise(cuts)]
        tracemalloc.start()
        for piece in pieces:
            connection.data_received(piece)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peer.received.endswith(b"\r\n\r\n4096")
        assert peak < (copies + 0.5) * len(body)

    run(script)


def test_a_body_that_is_not_whole_when_the_drain_is_over_is_answered() -> None:
    async def script() -> None:
        connection, peer = connect(echo)
        connection.data_received(request(b"0123456789")[:-1])
        for under_way in list(connection.tasks):
            under_way.cancel("as uvicorn does")
        await asyncio.sleep(0)
        assert peer.received.startswith(b"HTTP/1.1 503")
        assert b'"outcome_unknown"' in peer.received
        assert not connection.tasks

    run(script)


def test_an_answered_request_leaves_nothing_for_the_garbage_collector() -> None:
    async def script() -> None:
        connection, _ = connect(echo)

        def ask() -> None:
            for _ in range(10):
                connection.data_received(request(b"again"))

        ask()
        assert _least_garbage(ask) == 0

    run(script)


def test_a_lost_connection_leaves_nothing_for_the_garbage_collector() -> None:
    async def script() -> None:
        connection, _ = connect(echo)
        config, limits, admission = connection.config, connection.limits, Admission(8, 1 << 20)

        def visit() -> None:
            for _ in range(10):
                visitor = ShortHttp(limits, admission, config, ServerState(), {})
                visitor.connection_made(cast(asyncio.Transport, Peer()))
                visitor.data_received(request(b"hello"))
                visitor.connection_lost(None)

        visit()
        assert _least_garbage(visit) == 0

    run(script)


def _least_garbage(act: Callable[[], None]) -> int:
    """What every run of an act leaves; other threads may make garbage of their own meanwhile."""
    found: list[int] = []
    gc.disable()
    try:
        for _ in range(5):
            gc.collect()
            act()
            found.append(gc.collect())
    finally:
        gc.enable()
    return min(found)


@pytest.mark.parametrize(
    ("error", "status"), [(MemoryError(), b"503"), (LookupError("ours"), b"500")]
)
def test_a_fault_of_ours_in_a_callback_of_the_parser_is_no_fault_of_the_client(
    error: Exception, status: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: Scope) -> None:
        fails.pop()
        raise error

    async def script() -> None:
        connection, peer = connect(echo)
        cast(RequestContext, connection.app).find = lambda scope: fail(scope) if fails else None
        connection.data_received(request(b"first"))
        await asyncio.gather(*connection.tasks)
        assert peer.received.startswith(b"HTTP/1.1 " + status)
        assert peer.has_heard_the_end

    fails = [True]
    run(script)
    unexpected = [record for record in caplog.records if record.message == "unexpected error"]
    assert len(unexpected) == (status == b"500")


def test_no_memory_for_a_body_is_no_fault_of_the_client() -> None:
    class Full(ShortHttp):
        def on_body(self, body: bytes) -> None:
            raise MemoryError

    async def script() -> None:
        connection, peer = connect(echo, protocol=Full)
        connection.data_received(request(b"a body"))
        assert peer.received.startswith(b"HTTP/1.1 503")
        assert b'"out_of_memory"' in peer.received

    run(script)
