"""The loop of every training stream: take a record, apply it, say what became of it, in order.

Two tasks share it. One reads, decodes and queues records while the window has room; the other waits
for them in their order. How answers travel, and whether a peer that does not read them holds the
stream up, is the transport's business.

Note [The last line]
A stream that the server ends says so in its last line: an error, whose record is the first one that
was not applied. It and all after it may be sent again; with keys, so may any other.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from time import monotonic
from typing import Literal, Protocol, TypeAlias

import orjson

from app.api.asgi import ClientGone, Scope
from app.api.context import refuse
from app.api.edge import Edge, key_of, sender_of
from app.api.errors import kind_of
from app.api.streams.records import RawRecord, Record
from app.api.streams.window import Window
from app.errors import QueueFull, SlimvecError
from app.service import Line, Ticket
from app.types import StepAnswer, StepResult

OnError: TypeAlias = Literal["stop", "skip"]

_ACK_FIELDS = ("version", "step", "update", "loss", "grad_norm", "learning_rate", "rows")


class Answers(Protocol):
    """The way back to the sender; lines arrive in the order of these calls."""

    @property
    def is_full(self) -> bool:
        """Whether so many refusals wait to be read that the stream has to end."""

    async def acknowledge(self, line: bytes) -> None:
        """Say that every record up to this one is settled."""

    async def refuse(self, line: bytes) -> None:
        """Say that one record was refused, or that the stream ends here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamOptions:
    """What a stream is for, and what it does after a refused record."""

    model: str
    on_error: OnError


@dataclass(frozen=True, slots=True)
class _Taken:
    """A record on its way, or the reason why it never was."""

    number: int
    num_bytes: int
    outcome: asyncio.Future[StepResult] | Exception


class Stream:
    """One stream.

    Args:
        edge: the verbs and the counters.
        scope: of the request; gives refusals their id.
        options: model, and what follows a refusal.
        answers: the way back.

    Attributes:
        ending: why the server ended the stream before its input did.
        is_gone: whether the sender hung up.
    """

    def __init__(self, edge: Edge, scope: Scope, options: StreamOptions, answers: Answers) -> None:
        self.ending: Exception | None = None
        self.is_gone = False
        self._edge = edge
        self._scope = scope
        self._options = options
        self._answers = answers
        self._line = Line() if options.on_error == "stop" else None
        self._window = Window()
        self._ticket: Ticket = scope["ticket"]
        self._ticket.hold(0)  # whatever the whole body is declared to have: records pass one by one
        self._taken: asyncio.Queue[_Taken | None] = asyncio.Queue()
        self._num_taken = 0
        self._newest: StepAnswer | None = None
        self._began_s = monotonic()

    async def run(self, records: AsyncIterator[RawRecord]) -> None:
        """Apply the records; returns when every one that was taken is settled."""
        reading = asyncio.create_task(self._read(records))
        try:
            await self._settle(reading)
        finally:
            reading.cancel()
            await asyncio.gather(reading, *self._rest(), return_exceptions=True)

    # Reading

    async def hold(self, num_bytes: int) -> None:
        """Wait until there is room in memory for more bytes than those in the window.

        Raises:
            QueueFull: `overloaded`, and nothing of this stream is on its way that would make room.
        """
        while True:
            try:
                self._ticket.hold(self._window.num_bytes + num_bytes)
                return
            except QueueFull:
                if self._window.is_empty:
                    raise
                await self._window.change()

    async def _read(self, records: AsyncIterator[RawRecord]) -> None:
        try:
            async with self._edge.streams.reading():
                async for raw in records:
                    await self.hold(len(raw.body))
                    if not await self._take(raw):
                        return
                    await self._window.room()
        except ClientGone:
            self.is_gone = True
        except Exception as error:  # of the input as a whole, or ours: it ends the stream
            self.ending = error
        finally:
            self._taken.put_nowait(None)

    async def _take(self, raw: RawRecord) -> bool:
        """Queue a record; whether another one may follow."""
        outcome: asyncio.Future[StepResult] | Exception
        try:
            record = await self._edge.service.aside(raw.read) if raw.is_long else raw.read()
            outcome = await self._begin(record)
        except Exception as error:  # the settling task answers it, in its turn
            outcome = error
        self._num_taken += 1
        self._window.enter(len(raw.body))
        self._taken.put_nowait(_Taken(self._num_taken, len(raw.body), outcome))
        return not isinstance(outcome, Exception) or not self._is_last(outcome)

    async def _begin(self, record: Record) -> asyncio.Future[StepResult]:
        """Queue a step for the trainer as soon as its queue has room."""
        key = None
        if record.key is not None:
            key = await key_of(self._edge, self._scope, record.key, record.step)
        await self._edge.service.steps.look(self._options.model, record.step)
        join, sender = self._edge.service.steps.join, sender_of(self._scope)
        while True:
            try:
                result = join(self._options.model, record.step, key, self._line, sender=sender)
                return asyncio.ensure_future(result)
            except QueueFull:
                await self._window.change()

    def _is_last(self, error: Exception) -> bool:
        """Whether nothing may follow a record that was refused like this."""
        return self._options.on_error == "stop" or _is_ours(error)

    # Settling

    async def _settle(self, reading: asyncio.Task[None]) -> None:
        while (taken := await self._taken.get()) is not None:
            try:
                self._note(await _outcome(taken))
            except Exception as error:
                self._count("refused")
                await self._refuse(taken.number, error)
                if self._is_last(error):
                    self.ending = error
                    return
                if self._answers.is_full and not reading.done():
                    self.ending = _unread()
                    reading.cancel()
            await self._acknowledge(taken.number)
            self._window.leave(taken.num_bytes)
            self._ticket.hold(self._window.num_bytes)
        if self.ending is not None:
            await self._refuse(self._num_taken + 1, self.ending)

    def _note(self, result: StepResult) -> None:
        self._newest = result.answer
        self._count("replayed" if result.is_replayed else "applied")
        if not result.is_replayed:
            self._edge.metrics.add_rows(self._options.model, "train", result.answer.rows)

    async def _acknowledge(self, number: int) -> None:
        newest = self._newest
        fields = {name: getattr(newest, name, None) for name in _ACK_FIELDS}
        if newest is not None and newest.serving is not None:
            fields["serving"] = newest.serving
        rate = number / max(monotonic() - self._began_s, 1e-6)
        line = {"ack": number, **fields, "records_per_s": round(rate, 3)}
        await self._answers.acknowledge(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))

    async def _refuse(self, number: int, error: Exception) -> None:
        problem = refuse(error, self._scope, self._edge.metrics).body
        await self._answers.refuse(b'{"record":%d,"error":%b}\n' % (number, problem))

    def _count(self, outcome: Literal["applied", "replayed", "refused"]) -> None:
        self._edge.metrics.records.labels(self._options.model, outcome).inc()

    def _rest(self) -> list[asyncio.Future[StepResult]]:
        """What was queued behind the record that ended the stream: refused, or applied unsaid."""
        rest: list[asyncio.Future[StepResult]] = []
        while not self._taken.empty():
            taken = self._taken.get_nowait()
            if taken is not None and not isinstance(taken.outcome, Exception):
                rest.append(taken.outcome)
        return rest


async def _outcome(taken: _Taken) -> StepResult:
    if isinstance(taken.outcome, Exception):
        raise taken.outcome
    return await taken.outcome


def _is_ours(error: Exception) -> bool:
    """Whether it is the server that cannot go on, not the record that cannot be used."""
    return not isinstance(error, SlimvecError) or kind_of(error).status >= 500


def _unread() -> QueueFull:
    return QueueFull(
        "errors_unread",
        "too many refusals wait to be read; read the answer while sending, then send this record "
        "and those after it again",
    )
