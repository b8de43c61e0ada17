from __future__ import annotations

import asyncio

from app.api.asgi import Message
from app.api.streams.http import NdjsonAnswers


class Reader:
    """A peer that reads only when it is let."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.reads = asyncio.Event()

    async def send(self, message: Message) -> None:
        await self.reads.wait()
        if message["type"] == "http.response.body":
            self.bodies.append(message["body"])


async def _written(*calls: tuple[str, bytes]) -> list[bytes]:
    """What arrives at a peer that begins to read after all these calls."""
    answers, reader = NdjsonAnswers(), Reader()
    writing = asyncio.create_task(answers.write(reader.send))
    for name, line in calls:
        await getattr(answers, name)(line)
    reader.reads.set()
    answers.close()
    await writing
    return b"".join(reader.bodies).split()


def test_an_acknowledgement_that_was_not_sent_yet_is_replaced() -> None:
    calls = [("acknowledge", b"ack%d\n" % number) for number in range(1, 1001)]
    assert asyncio.run(_written(*calls)) == [b"ack1000"]


def test_every_refusal_is_sent_before_the_acknowledgement_that_settles_it() -> None:
    calls = [
        ("acknowledge", b"ack1\n"), ("acknowledge", b"ack2\n"), ("refuse", b"error3\n"),
        ("acknowledge", b"ack3\n"), ("acknowledge", b"ack4\n"), ("refuse", b"error5\n"),
    ]  # fmt: skip
    assert asyncio.run(_written(*calls)) == [b"ack2", b"error3", b"ack4", b"error5"]


def test_a_stream_without_records_has_an_empty_answer() -> None:
    assert asyncio.run(_written()) == []


def test_too_many_refusals_for_a_reader_that_does_not_read_are_noticed() -> None:
    async def refuse_until_full() -> int:
        answers = NdjsonAnswers()
        number = 0
        while not answers.is_full:
            number += 1
            await answers.refuse(b"error\n")
            await answers.acknowledge(b"ack\n")
        return number

    assert 200 < asyncio.run(refuse_until_full()) < 1000
