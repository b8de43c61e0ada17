"""The upstream: a request in batches, a few of them at a time, the answers in order."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import Any

import orjson

from app.errors import SlimvecError
from app.settings import Settings
from app.types import Embedded, TextInput, TextRequest
from app.upstream.answers import joined, read_answer
from app.upstream.line import Line
from app.upstream.refusals import refusal_of
from app.upstream.traffic import Traffic

# Of one request: others shall not wait for all batches of a large one.
_AT_ONCE = 4
# A number in the longest form that JSON needs for it, with slack; and what stands around a row.
_BYTES_A_NUMBER, _BYTES_A_ROW, _BYTES_AROUND = 32, 256, 64 << 10
_INLINE_BYTES = 256 << 10


class Upstream:
    """Makes embeddings of texts by asking a server; implements `app.types.Embedder`.

    Args:
        url: of an OpenAI-compatible server, up to `/v1`.
        settings: its key, its model, sizes and times.

    Attributes:
        traffic: what was asked so far.

    Raises:
        StartupError: the URL or the key cannot be used.
    """

    def __init__(self, url: str, settings: Settings) -> None:
        key = settings.upstream_key
        self._line = Line(
            url, key.get_secret_value() if key else None, timeout_s=settings.upstream_timeout_s
        )
        self._model = settings.upstream_model
        self._batch = settings.upstream_batch
        self.traffic = Traffic()

    async def embed(self, request: TextRequest, *, input_size: int) -> Embedded:
        """The embeddings of all texts; when one batch fails, the others are given up.

        Args:
            request: the texts.
            input_size: how wide the embeddings should be; bounds the size of an answer.

        Raises:
            SlimvecError: as `Embedder` says.
        """
        # In a task of its own: time limits and connections ask for one, and whoever calls may be
        # driven without. To cancel the wait is to cancel the task.
        return await asyncio.create_task(self._embed(request, input_size))

    async def close(self) -> None:
        """Close every connection."""
        await self._line.close()

    async def _embed(self, request: TextRequest, input_size: int) -> Embedded:
        inputs = request.inputs
        batches = [inputs[i : i + self._batch] for i in range(0, len(inputs), self._batch)]
        at_once = asyncio.Semaphore(_AT_ONCE)

        async def ask(batch: TextInput) -> Embedded:
            async with at_once:
                return await self._ask(batch, request, input_size)

        try:
            async with asyncio.TaskGroup() as group:
                asked = [group.create_task(ask(batch)) for batch in batches]
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        return joined([task.result() for task in asked])

    async def _ask(self, batch: TextInput, request: TextRequest, input_size: int) -> Embedded:
        started, outcome = perf_counter(), "cancelled"
        max_bytes = len(batch) * (input_size * _BYTES_A_NUMBER + _BYTES_A_ROW) + _BYTES_AROUND
        try:
            answer = await self._line.ask(self._question(batch, request), max_bytes=max_bytes)
            if answer.status != 200:
                raise refusal_of(answer)
            if len(answer.body) > _INLINE_BYTES:
                embedded = await asyncio.to_thread(read_answer, answer.body, count=len(batch))
            else:
                embedded = read_answer(answer.body, count=len(batch))
            outcome = "answered"
            return embedded
        except SlimvecError as error:
            outcome = error.code
            raise
        finally:
            self.traffic.count(outcome, perf_counter() - started)

    def _question(self, batch: TextInput, request: TextRequest) -> bytes:
        question: dict[str, Any] = {"input": batch, "encoding_format": "base64"}
        given = {
            "model": self._model,
            "input_type": request.input_type,
            "user": request.user,
        }
        return orjson.dumps(question | {k: v for k, v in given.items() if v is not None})
