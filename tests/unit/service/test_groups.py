"""Steps that share a commit are durable together, each with its own row and key."""

from __future__ import annotations

import asyncio
from pathlib import Path
from threading import Event

from app.service import Service
from app.types import StateDescription, StepResult
from tests.unit.service.examples import CONFIG, key, live_once, look, step

_STEPS = range(5)


async def learn_in_one_group(service: Service) -> StateDescription:
    """Steps that waited together, and where the model is then."""
    await service.create("m", CONFIG)
    queued = Event()
    busy = service.live("m").ask(queued.wait)
    steps = [service.steps.begin("m", step(seed), key(f"k{seed}", seed)) for seed in _STEPS]
    queued.set()
    await asyncio.gather(asyncio.wrap_future(busy), *steps)
    return await service.state("m")


async def send_again(service: Service) -> list[StepResult]:
    """The same steps under the same keys."""
    return [await service.train_step("m", step(n), key(f"k{n}", n)) for n in _STEPS]


def test_every_step_of_a_group_is_there_after_a_crash(tmp_path: Path) -> None:
    before = live_once(tmp_path / "a", learn_in_one_group, crash_to=tmp_path / "b")
    assert (before.seq, before.version) == (5, 6)
    assert live_once(tmp_path / "b", look) == before


def test_every_key_of_a_group_is_remembered(tmp_path: Path) -> None:
    async def learn_twice(service: Service) -> list[StepResult]:
        await learn_in_one_group(service)
        return await send_again(service)

    again = live_once(tmp_path / "a", learn_twice, crash_to=tmp_path / "b")
    assert [result.is_replayed for result in again] == [True] * 5
    assert live_once(tmp_path / "b", send_again) == again
