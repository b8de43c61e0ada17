"""Work that is done once for all who ask while it is under way."""

from __future__ import annotations

import asyncio

import pytest

from app.service.shared_work import SharedWork


class Work:
    """Counts how often it is begun, and ends when it is let go."""

    def __init__(self, fault: Exception | None = None) -> None:
        self.begun, self.may_end = 0, asyncio.Event()
        self._fault = fault

    async def __call__(self) -> int:
        self.begun += 1
        await self.may_end.wait()
        if self._fault is not None:
            raise self._fault
        return self.begun


async def asked(work: Work, keys: str) -> list[asyncio.Task[int]]:
    """One who waits for each key, once all of them do."""
    shared: SharedWork[str, int] = SharedWork()
    waiting = [asyncio.create_task(shared.join(key, work)) for key in keys]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return waiting


@pytest.mark.parametrize(("keys", "begun"), [("aaa", 1), ("ab", 2)])
def test_work_is_begun_once_for_each_key(keys: str, begun: int) -> None:
    async def scenario() -> int:
        work = Work()
        waiting = await asked(work, keys)
        work.may_end.set()
        await asyncio.gather(*waiting)
        return work.begun

    assert asyncio.run(scenario()) == begun


def test_whoever_goes_does_not_take_it_from_the_others() -> None:
    async def scenario() -> int:
        work = Work()
        first, second = await asked(work, "aa")
        first.cancel()
        await asyncio.sleep(0)
        work.may_end.set()
        return await second

    assert asyncio.run(scenario()) == 1


def test_a_fault_is_for_everybody_who_waits_and_for_nobody_later() -> None:
    async def scenario() -> list[object]:
        shared: SharedWork[str, int] = SharedWork()
        work, better = Work(ValueError()), Work()
        work.may_end.set()
        better.may_end.set()
        both = [shared.join("a", work), shared.join("a", work)]
        return [
            *await asyncio.gather(*both, return_exceptions=True),
            await shared.join("a", better),
        ]

    first, second, later = asyncio.run(scenario())
    assert isinstance(first, ValueError)
    assert isinstance(second, ValueError)
    assert later == 1
