"""What becomes of the key of a step that was not accepted."""

from __future__ import annotations

import asyncio
from pathlib import Path
from threading import Event

import pytest

from app.errors import QueueFull
from app.service import Service
from app.types import StepResult
from tests.unit.service.examples import CONFIG, key, live_once, step


async def try_in_vain(service: Service) -> StepResult:
    """A step under a key while the queue is full, and again when it is not."""
    await service.create("m", CONFIG)
    is_free = Event()
    busy = service.live("m").ask(is_free.wait)
    waiting = service.steps.begin("m", step(0))
    with pytest.raises(QueueFull):
        service.steps.begin("m", step(1), key("k", 1))
    is_free.set()
    await asyncio.gather(asyncio.wrap_future(busy), waiting)
    return await service.train_step("m", step(1), key("k", 1))


def test_a_step_that_found_the_queue_full_leaves_its_key_free(tmp_path: Path) -> None:
    result = live_once(tmp_path, try_in_vain, train_queue=1)
    assert (result.is_replayed, result.answer.version) == (False, 3)
