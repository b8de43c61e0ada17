from __future__ import annotations

import asyncio

import pytest

from app.api.streams.window import Window

MIB = 1 << 20


async def _held_back(window: Window) -> bool:
    """Whether the window lets nothing in, now."""
    waiting = asyncio.create_task(window.room())
    await asyncio.sleep(0)
    is_held_back = not waiting.done()
    waiting.cancel()
    return is_held_back


@pytest.mark.parametrize(("num_records", "num_bytes"), [(32, 1), (1, 64 * MIB), (4, 16 * MIB)])
def test_a_full_window_has_room_again_when_a_record_is_settled(
    num_records: int, num_bytes: int
) -> None:
    async def fill_and_settle() -> tuple[bool, bool, bool]:
        window = Window()
        for _ in range(num_records - 1):
            window.enter(num_bytes)
        before = await _held_back(window)
        window.enter(num_bytes)
        full = await _held_back(window)
        window.leave(num_bytes)
        return before, full, await _held_back(window)

    assert asyncio.run(fill_and_settle()) == (False, True, False)


def test_whoever_waits_for_room_goes_on_when_there_is_some() -> None:
    async def wait_for_room() -> None:
        window = Window()
        window.enter(64 * MIB)
        waiting = asyncio.create_task(window.room())
        await asyncio.sleep(0)
        window.leave(64 * MIB)
        await waiting

    asyncio.run(wait_for_room())


def test_with_nothing_on_its_way_a_change_is_a_moment_away() -> None:
    asyncio.run(Window().change())
