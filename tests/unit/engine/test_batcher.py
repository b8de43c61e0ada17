"""Requests of one turn of the loop share a product, and none suffers by another."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Event

import numpy as np
import pytest

from app.engine.batch import outcomes
from app.engine.batcher import Batcher
from app.engine.out_of_memory import MemoryWatch
from app.engine.snapshot import Snapshot
from app.types import FloatArray
from tests.unit.engine.rows import WIDTH, CountingMultiplier, exact, make_snapshot, random_rows

ONE, FOUR = random_rows(1, seed=1), random_rows(4, seed=4)


def make_batcher(
    multiplier: CountingMultiplier, *, most_rows: int = 16, thread: ThreadPoolExecutor | None = None
) -> Batcher:
    return Batcher(
        partial(outcomes, multiplier, MemoryWatch()),
        most_rows=lambda snapshot: most_rows,
        sharing_rows=8,
        thread=thread,
    )


async def turn(
    batcher: Batcher, snapshot: Snapshot, parts: Sequence[FloatArray]
) -> list[FloatArray]:
    """Requests that are ready at once, and their answers."""
    answers = [batcher.reduce(snapshot, part) for part in parts]
    return [product.array for product in await asyncio.gather(*answers)]


def test_requests_of_one_turn_share_a_product() -> None:
    multiplier, snapshot, parts = CountingMultiplier(), make_snapshot(), [ONE, FOUR, ONE]

    async def ask() -> list[FloatArray]:
        return await turn(make_batcher(multiplier), snapshot, parts)

    for part, reduced in zip(parts, asyncio.run(ask()), strict=True):
        np.testing.assert_allclose(reduced, exact(snapshot, part), atol=1e-4)
    assert multiplier.products == [(1,), (4, 1)]  # the first did not know that others would come


def test_after_a_turn_with_several_all_of_the_next_share() -> None:
    multiplier, snapshot = CountingMultiplier(), make_snapshot()

    async def ask() -> None:
        batcher = make_batcher(multiplier)
        for _ in range(3):
            await turn(batcher, snapshot, [ONE, ONE, ONE])
        for _ in range(3):
            await turn(batcher, snapshot, [ONE])

    asyncio.run(ask())
    assert multiplier.products == [(1,), (1, 1), (1, 1, 1), (1, 1, 1), (1,), (1,), (1,)]


def test_a_request_that_is_alone_is_answered_before_it_is_awaited() -> None:
    async def ask() -> bool:
        return make_batcher(CountingMultiplier()).reduce(make_snapshot(), ONE).done()

    assert asyncio.run(ask())


def test_a_request_that_fills_a_product_by_itself_goes_at_once() -> None:
    multiplier, snapshot = CountingMultiplier(), make_snapshot()

    async def ask() -> list[FloatArray]:
        return await turn(make_batcher(multiplier), snapshot, [ONE, random_rows(9), ONE])

    asyncio.run(ask())
    assert multiplier.products == [(1,), (9,), (1,)]


def test_a_product_has_a_bounded_number_of_rows() -> None:
    multiplier, snapshot = CountingMultiplier(), make_snapshot()

    async def ask() -> None:
        await turn(make_batcher(multiplier, most_rows=8), snapshot, [ONE, *[FOUR] * 5])

    asyncio.run(ask())
    assert multiplier.products == [(1,), (4, 4), (4, 4), (4,)]


def test_versions_are_never_mixed() -> None:
    multiplier = CountingMultiplier()
    first, second = make_snapshot(version=1), make_snapshot(version=2)

    async def ask() -> list[FloatArray]:
        batcher = make_batcher(multiplier)
        answers = [batcher.reduce(one, FOUR) for one in (first, first, second, first, second)]
        return [product.array for product in await asyncio.gather(*answers)]

    found = asyncio.run(ask())
    assert multiplier.products == [(4,), (4, 4), (4, 4)]
    for reduced, snapshot in zip(found, (first, first, second, first, second), strict=True):
        np.testing.assert_allclose(reduced, exact(snapshot, FOUR), atol=1e-4)


def test_a_request_whose_client_has_gone_is_not_multiplied() -> None:
    multiplier, snapshot = CountingMultiplier(), make_snapshot()

    async def ask() -> list[FloatArray]:
        batcher = make_batcher(multiplier)
        answers = [batcher.reduce(snapshot, rows) for rows in (ONE, FOUR, ONE, ONE)]
        answers[1].cancel()
        return [product.array for product in await asyncio.gather(answers[0], *answers[2:])]

    for reduced in asyncio.run(ask()):
        np.testing.assert_allclose(reduced, exact(snapshot, ONE), atol=1e-4)
    assert multiplier.products == [(1,), (1, 1)]


@pytest.mark.parametrize("place", [1, 2, 3])
def test_a_failing_request_fails_alone(place: int) -> None:
    snapshot, parts = make_snapshot(), [FOUR] * 4
    parts[place] = random_rows(4, WIDTH + 1)  # no check before it refused its width

    async def ask() -> list[object]:
        batcher = make_batcher(CountingMultiplier())
        answers = [batcher.reduce(snapshot, part) for part in parts]
        return await asyncio.gather(*answers, return_exceptions=True)

    failed = [isinstance(answer, Exception) for answer in asyncio.run(ask())]
    assert failed == [index == place for index in range(4)]


def test_a_value_that_is_not_finite_is_told_of_its_own_request_only() -> None:
    snapshot, bad = make_snapshot(), FOUR.copy()
    bad[2, 3] = np.nan

    async def ask() -> list[bool]:
        batcher = make_batcher(CountingMultiplier())
        answers = [batcher.reduce(snapshot, part) for part in (ONE, FOUR, bad, FOUR)]
        return [product.is_finite for product in await asyncio.gather(*answers)]

    assert asyncio.run(ask()) == [True, True, False, True]


class HeldMultiplier(CountingMultiplier):
    """Waits for a word before its first product."""

    def __init__(self) -> None:
        super().__init__()
        self.word = Event()

    def multiply(self, snapshot: Snapshot, parts: Sequence[FloatArray]) -> FloatArray:
        self.word.wait(30)
        return super().multiply(snapshot, parts)


def test_what_comes_while_a_device_is_busy_shares_its_next_product() -> None:
    multiplier, snapshot = HeldMultiplier(), make_snapshot()

    async def ask() -> list[FloatArray]:
        with ThreadPoolExecutor(1) as thread:
            batcher = make_batcher(multiplier, thread=thread)
            answers = [batcher.reduce(snapshot, ONE)]
            for _ in range(3):
                await asyncio.sleep(0)  # each in a turn of its own
                answers.append(batcher.reduce(snapshot, FOUR))
            multiplier.word.set()
            return [product.array for product in await asyncio.gather(*answers)]

    found = asyncio.run(ask())
    assert multiplier.products == [(1,), (4, 4, 4)]
    np.testing.assert_allclose(found[-1], exact(snapshot, FOUR), atol=1e-4)


def test_when_the_thread_has_ended_nobody_waits_for_ever() -> None:
    thread = ThreadPoolExecutor(1)
    thread.shutdown()

    async def ask() -> list[object]:
        answers = [
            make_batcher(CountingMultiplier(), thread=thread).reduce(make_snapshot(), rows)
            for rows in (ONE, FOUR)
        ]
        async with asyncio.timeout(30):
            return await asyncio.gather(*answers, return_exceptions=True)

    assert [getattr(found, "code", None) for found in asyncio.run(ask())] == ["draining"] * 2
