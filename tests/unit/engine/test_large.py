"""What takes seconds waits in a bounded line."""

from __future__ import annotations

import asyncio
from threading import Event

import pytest

from app.engine.large import LargeWork
from app.engine.out_of_memory import MemoryWatch
from app.errors import QueueFull


def test_one_more_than_may_wait_is_refused_and_room_comes_back() -> None:
    async def fill() -> int:
        work, may_end = LargeWork(MemoryWatch(), most=2), Event()
        waiting = [work.run(may_end.wait), work.run(lambda: True)]
        with pytest.raises(QueueFull) as refused:
            work.run(lambda: True)
        may_end.set()
        assert await asyncio.gather(*waiting) == [True, True]
        assert await work.run(lambda: True)
        work.close()
        return refused.value.retry_after_s

    assert asyncio.run(fill()) >= 1


def test_work_that_fails_gives_its_room_back() -> None:
    async def fail_often() -> None:
        work = LargeWork(MemoryWatch(), most=1)
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                await work.run(lambda: 1 // 0)
        work.close()

    asyncio.run(fail_often())
