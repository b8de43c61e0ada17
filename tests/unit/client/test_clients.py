"""Both drivers against real sockets that break, refuse and come back."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import aclosing, closing
from typing import Any, TypeAlias

import httpx
import numpy as np
import orjson
import pytest

from app.client import (
    Acknowledgement,
    AsyncClient,
    Batch,
    Client,
    Interrupted,
    Item,
    NotUnderstood,
    Refused,
    Retries,
    Unreachable,
    Window,
)
from app.errors import NotFound, StepRejected, Unacceptable
from app.types import StepAnswer
from tests.unit.client.socket_server import chunked, response, scripted

ROWS = np.ones((2, 3), np.float32)
QUICK = Retries(total_s=30, first_s=0.001, longest_s=0.002)
STEP = StepAnswer(
    model="small", version=2, step=1, update="gradient", loss=0.5, grad_norm=1.0,
    learning_rate=0.1, rows=2, digest="0" * 16,
)  # fmt: skip
ACCEPTED = response("200 OK", "application/json", orjson.dumps(STEP))


def problem(status: int, code: str, *headers: str) -> bytes:
    document = {"status": status, "code": code, "detail": "why", "instance": "id-1"}
    return response(f"{status} X", "application/problem+json", orjson.dumps(document), *headers)


BUSY = problem(503, "draining", "Retry-After: 0")
IN_PROGRESS = problem(409, "idempotency_in_progress", "Retry-After: 0")


def train_step(url: str, retries: Retries = QUICK) -> StepAnswer:
    with Client(url, "small", retries=retries) as client:
        return client.train_step(ROWS)


def train_step_async(url: str, retries: Retries = QUICK) -> StepAnswer:
    async def run() -> StepAnswer:
        async with AsyncClient(url, "small", retries=retries) as client:
            return await client.train_step(ROWS)

    return asyncio.run(run())


def stream(url: str, batches: Iterable[Any], **options: Any) -> list[Item]:
    with Client(url, "small", retries=QUICK) as client:
        return list(client.train_stream(batches, key="s", **options))


def stream_async(url: str, batches: Iterable[Any], **options: Any) -> list[Item]:
    async def source() -> AsyncIterator[Any]:
        for batch in batches:
            yield batch

    async def run() -> list[Item]:
        async with AsyncClient(url, "small", retries=QUICK) as client:
            return [item async for item in client.train_stream(source(), key="s", **options)]

    return asyncio.run(run())


TrainStep: TypeAlias = Callable[..., StepAnswer]
Stream: TypeAlias = Callable[..., list[Item]]
both_steps = pytest.mark.parametrize("step", [train_step, train_step_async])
both_streams = pytest.mark.parametrize("train", [stream, stream_async])


@both_steps
@pytest.mark.parametrize(
    "first",
    [None, b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", BUSY, IN_PROGRESS],
    ids=["hangs up at once", "no reply", "half a reply", "503", "409"],
)
def test_a_step_is_sent_again_under_the_same_key(step: TrainStep, first: bytes | None) -> None:
    with scripted([first, ACCEPTED, ACCEPTED]) as server:
        answers = [step(server.url), step(server.url)]
    assert answers == [STEP, STEP]
    *tries, other = [_key(request) for request in server.requests]
    assert len(set(tries)) == 1
    assert other not in tries


@both_steps
def test_a_refused_step_is_raised_as_the_servers_error(step: TrainStep) -> None:
    with scripted([problem(422, "step_rejected")]) as server, pytest.raises(StepRejected):
        step(server.url)
    assert len(server.requests) == 1


@both_steps
def test_a_server_that_is_not_there_is_unreachable(step: TrainStep) -> None:
    with pytest.raises(Unreachable, match=r"expected a server at 127.0.0.1:9, could not reach"):
        step("http://127.0.0.1:9", Retries(total_s=0))


@both_steps
def test_a_server_of_another_kind_is_not_understood(step: TrainStep) -> None:
    page = response("200 OK", "text/html", b"<p>")
    with scripted([page]) as server, pytest.raises(NotUnderstood):
        step(server.url)


@both_steps
def test_a_step_that_never_gets_an_answer_is_interrupted(step: TrainStep) -> None:
    with scripted([b""]) as server, pytest.raises(Interrupted, match="the connection ended first"):
        step(server.url, Retries(total_s=0))


@pytest.mark.parametrize("client", [Client, AsyncClient])
@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://host", "http://", "http://[", ""])
def test_a_url_of_another_form_is_refused(client: Callable[[str], object], url: str) -> None:
    with pytest.raises(Unreachable, match="expected a URL like"):
        client(url)


@pytest.mark.parametrize("client", [Client, AsyncClient])
def test_a_name_of_another_form_is_refused(client: Callable[..., object]) -> None:
    with pytest.raises(Unacceptable, match="expected a model name"):
        client("http://127.0.0.1:9", "../other")


@both_streams
def test_a_stream_resumes_in_the_middle_of_a_broken_answer(train: Stream) -> None:
    ack = '{"ack": %d, "version": %d}'
    script = [None, chunked(ack % (2, 3), is_whole=False), BUSY, chunked(ack % (1, 4))]
    with scripted(script) as server:
        items = train(server.url, [ROWS, Batch(hidden_states=ROWS), ROWS])
    assert items == [Acknowledgement(ack=2, version=3), Acknowledgement(ack=3, version=4)]
    assert [_frame_keys(request) for request in server.requests] == [
        [b"s-1", b"s-2", b"s-3"], [b"s-3"], [b"s-3"]
    ]  # fmt: skip


@both_streams
def test_a_stream_that_is_refused_as_a_whole_raises_the_servers_error(train: Stream) -> None:
    with scripted([problem(404, "model_not_found")]) as server, pytest.raises(NotFound):
        train(server.url, [ROWS])


@both_streams
def test_a_stream_goes_on_after_a_refused_record_when_asked(train: Stream) -> None:
    lines = [
        '{"record": 1, "error": {"status": 422, "code": "step_rejected", "detail": "why"}}',
        '{"ack": 1}',
        '{"ack": 2, "version": 2}',
    ]
    with scripted([chunked(*lines)]) as server:
        first, *rest = train(server.url, [ROWS, ROWS], on_error="skip")
    assert isinstance(first, Refused)
    assert (first.record, type(first.error)) == (1, StepRejected)
    assert [item.ack for item in rest if isinstance(item, Acknowledgement)] == [1, 2]
    assert b"on_error=skip" in server.requests[0].splitlines()[0]


@both_streams
def test_a_batch_that_cannot_be_made_ends_the_stream_with_its_own_error(train: Stream) -> None:
    def broken() -> Iterable[Any]:
        yield ROWS
        raise httpx.ReadError("of the caller's own source")

    with pytest.raises(httpx.ReadError):
        train("http://127.0.0.1:9", broken())


class OpenAnswer(httpx.SyncByteStream, httpx.AsyncByteStream):
    """Two acknowledgements, and whether the answer was closed behind them."""

    is_closed = False

    def __iter__(self) -> Iterator[bytes]:
        yield b'{"ack": 1}\n{"ack": 2}\n'

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b'{"ack": 1}\n{"ack": 2}\n'

    def close(self) -> None:
        self.is_closed = True

    async def aclose(self) -> None:
        self.is_closed = True


def test_a_stream_that_is_left_early_closes_its_answer() -> None:
    answer = OpenAnswer()
    transport = httpx.MockTransport(lambda _: httpx.Response(200, stream=answer))
    with Client("http://test", "small", transport=transport) as client:
        with closing(client.train_stream([ROWS, ROWS])) as items:
            next(items)
            assert not answer.is_closed
        assert answer.is_closed


def test_an_async_stream_that_is_left_early_closes_its_answer() -> None:
    answer = OpenAnswer()
    transport = httpx.MockTransport(lambda _: httpx.Response(200, stream=answer))

    async def run() -> None:
        async with AsyncClient("http://test", "small", transport=transport) as client:
            async with aclosing(client.train_stream([ROWS, ROWS])) as items:
                await anext(items)
                assert not answer.is_closed
            assert answer.is_closed

    asyncio.run(run())


def test_a_window_is_what_is_held_at_most() -> None:
    taken = 0

    def source() -> Iterable[Any]:
        nonlocal taken
        for taken in range(1, 9):  # noqa: B007 - counted outside
            yield ROWS

    script = [chunked('{"ack": 2}'), chunked('{"ack": 2}')]
    with scripted(script) as server, Client(server.url, "small") as client:
        items = client.train_stream(source(), window=Window(records=2))
        seen = [(next(items), taken)[1] for _ in range(2)]
    assert seen == [2, 4]


def _key(request: bytes) -> bytes:
    (key,) = re.findall(rb"(?im)^idempotency-key: (.*)\r$", request)
    return bytes(key)


def _frame_keys(request: bytes) -> list[bytes]:
    return re.findall(rb'"key":"(.*?)"', request)
