"""A checkpoint knows exactly which rows of the journal are in it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from threading import Event

from app.service import Service
from app.types import StateDescription
from tests.unit.service.examples import CONFIG, live_once, look, step


async def learn_beside_a_checkpoint(service: Service) -> StateDescription:
    """A step is durable before the checkpoint of the version before it is written."""
    await service.create("m", CONFIG)
    await service.train_step("m", step(0))
    is_free = Event()
    busy = service.live("m").ask(is_free.wait)
    writing = asyncio.create_task(service.checkpoint("m"))
    for _ in range(10):  # until it waits for the trainer, which is busy
        await asyncio.sleep(0)
    answer = service.steps.begin("m", step(1))
    is_free.set()
    while service.histories["m"].journal.position.seq < 2:
        pass  # without going back to the event loop, which would go on with the checkpoint
    await asyncio.gather(asyncio.wrap_future(busy), answer)
    assert await writing == 2
    return await service.state("m")


def test_a_step_beside_a_checkpoint_is_replayed_after_it(tmp_path: Path) -> None:
    before = live_once(tmp_path / "a", learn_beside_a_checkpoint, crash_to=tmp_path / "b")
    assert before.seq == 2
    assert live_once(tmp_path / "b", look) == before
