"""The two drivers' hands: they perform a flow's actions with httpx, and decide nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping
from typing import Any, Self, TypeAlias

import httpx

from app.client.actions import (
    Answer,
    Open,
    Pause,
    ReadLine,
    Request,
    Send,
    TakeBatch,
    Upload,
    WireAction,
)
from app.client.arrays import BatchLike, pack_frame
from app.client.trouble import trouble

# Of what httpcore is handed it copies the rest after every write: whole bodies cost their square.
_CHUNK_BYTES = 256 << 10

AnyBatches: TypeAlias = Iterable[BatchLike] | AsyncIterable[BatchLike]


class Wire:
    """Performs the actions of one flow, blocking."""

    def __init__(self, http: httpx.Client, batches: Iterable[BatchLike] = ()) -> None:
        self._http = http
        self._batches = iter(batches)
        self._response: httpx.Response | None = None
        self._lines: Iterator[str] = iter(())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def perform(self, action: WireAction) -> object:
        """The outcome of an action; trouble with the network is one."""
        match action:
            case TakeBatch():
                return next(self._batches, None)
            case Pause(seconds):
                time.sleep(seconds)
            case Send() | Upload() | Open() | ReadLine():
                try:
                    return self._exchange(action)
                except httpx.RequestError as error:
                    return trouble(error)
        return None

    def _exchange(self, action: Send | Upload | Open | ReadLine) -> Answer | str | None:
        match action:
            case Send(request):
                return _whole(self._http.send(self._built(request)))
            case Upload(request):
                frames = (pack_frame(batch) for batch in self._batches)
                chunks = (chunk for frame in frames for chunk in _chunks((frame,)))
                return _whole(self._http.request(**_arguments(request), content=chunks))
            case Open(request):
                return self._open(self._built(request))
            case ReadLine():
                return next(self._lines, None)

    def _built(self, request: Request) -> httpx.Request:
        return self._http.build_request(**_sized(request), content=_chunks(request.body))

    def _open(self, request: httpx.Request) -> Answer:
        self._close()
        self._response = self._http.send(request, stream=True)
        if self._response.status_code != httpx.codes.OK:
            self._response.read()
            return _whole(self._response)
        self._lines = self._response.iter_lines()
        return _head(self._response)

    def _close(self) -> None:
        if self._response is not None:
            self._response.close()


class AsyncWire:
    """Performs the actions of one flow in an event loop."""

    def __init__(self, http: httpx.AsyncClient, batches: AnyBatches = ()) -> None:
        self._http = http
        self._batches = aiter(batches) if isinstance(batches, AsyncIterable) else iter(batches)
        self._response: httpx.Response | None = None
        self._lines: AsyncIterator[str] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._close()

    async def perform(self, action: WireAction) -> object:
        """The outcome of an action; trouble with the network is one."""
        match action:
            case TakeBatch():
                return await self._take()
            case Pause(seconds):
                await asyncio.sleep(seconds)
            case Send() | Upload() | Open() | ReadLine():
                try:
                    return await self._exchange(action)
                except httpx.RequestError as error:
                    return trouble(error)
        return None

    async def _exchange(self, action: Send | Upload | Open | ReadLine) -> Answer | str | None:
        match action:
            case Send(request):
                return _whole(await self._http.send(self._built(request)))
            case Upload(request):
                chunks = self._frames()
                return _whole(await self._http.request(**_arguments(request), content=chunks))
            case Open(request):
                return await self._open(self._built(request))
            case ReadLine():
                assert self._lines is not None, "a line is read of an opened answer"
                return await anext(self._lines, None)

    async def _frames(self) -> AsyncIterator[bytes]:
        while (batch := await self._take()) is not None:
            for chunk in _chunks((pack_frame(batch),)):
                yield chunk

    async def _take(self) -> BatchLike | None:
        if isinstance(self._batches, AsyncIterator):
            return await anext(self._batches, None)
        return next(self._batches, None)

    def _built(self, request: Request) -> httpx.Request:
        return self._http.build_request(**_sized(request), content=_async_chunks(request.body))

    async def _open(self, request: httpx.Request) -> Answer:
        await self._close()
        self._response = await self._http.send(request, stream=True)
        if self._response.status_code != httpx.codes.OK:
            await self._response.aread()
            return _whole(self._response)
        self._lines = self._response.aiter_lines()
        return _head(self._response)

    async def _close(self) -> None:
        if self._response is not None:
            await self._response.aclose()


def headers_with(headers: Mapping[str, str] | None, api_key: str | None) -> dict[str, str]:
    """The headers of every request, with the key in the one where it belongs."""
    proof = {} if api_key is None else {"authorization": f"Bearer {api_key}"}
    return {**(headers or {}), **proof}


def _arguments(request: Request) -> dict[str, Any]:
    return {
        "method": request.method,
        "url": request.path,
        "params": dict(request.query),
        "headers": dict(request.headers),
    }


def _sized(request: Request) -> dict[str, Any]:
    arguments = _arguments(request)
    length = sum(map(len, request.body))
    return {**arguments, "headers": {**arguments["headers"], "content-length": str(length)}}


def _chunks(body: tuple[bytes, ...]) -> Iterator[bytes]:
    for part in body:
        for begin in range(0, len(part), _CHUNK_BYTES):
            yield part[begin : begin + _CHUNK_BYTES]


async def _async_chunks(body: tuple[bytes, ...]) -> AsyncIterator[bytes]:
    for chunk in _chunks(body):
        yield chunk


def _head(response: httpx.Response) -> Answer:
    return Answer(response.status_code, dict(response.headers))


def _whole(response: httpx.Response) -> Answer:
    return Answer(response.status_code, dict(response.headers), response.content)
