"""Steps that are not accepted, joined or given up: their keys, and what stands behind them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from threading import Event

import numpy as np
import pytest

from app.config import parse_loss
from app.errors import QueueFull, Unacceptable
from app.service import Line, Service, make_key
from app.types import Batch, StepResult, TrainStep
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


async def behind_a_refused_twin(service: Service) -> list[str]:
    """Two streams: the second joins a record of the first, which is refused."""
    await service.create("m", CONFIG)
    is_free, line = Event(), Line()
    busy = service.live("m").ask(is_free.wait)
    bad = TrainStep(batch=step(0).batch, loss=parse_loss("mse"))  # without targets
    same = make_key("k", "", bad)
    twins = [
        asyncio.ensure_future(service.steps.begin("m", bad, same)),
        asyncio.ensure_future(service.steps.join("m", bad, same, line)),
    ]
    behind = asyncio.ensure_future(service.steps.join("m", step(1), None, line))
    await asyncio.sleep(0)
    is_free.set()
    await asyncio.wrap_future(busy)
    ends = await asyncio.gather(*twins, behind, return_exceptions=True)
    return [getattr(end, "code", "applied") for end in ends]


def test_nothing_is_applied_behind_a_joined_record_that_is_refused(tmp_path: Path) -> None:
    codes = live_once(tmp_path, behind_a_refused_twin)
    assert codes == ["missing_field", "missing_field", "stream_stopped"]


async def behind_a_record_that_was_given_up(service: Service) -> str:
    await service.create("m", CONFIG)
    is_free, line = Event(), Line()
    busy = service.live("m").ask(is_free.wait)
    first = asyncio.ensure_future(service.steps.begin("m", step(0), None, line))
    second = asyncio.ensure_future(service.steps.begin("m", step(1), None, line))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    is_free.set()
    await asyncio.wrap_future(busy)
    (end,) = await asyncio.gather(second, return_exceptions=True)
    return getattr(end, "code", "applied")


def test_nothing_is_applied_behind_a_record_that_was_given_up(tmp_path: Path) -> None:
    assert live_once(tmp_path, behind_a_record_that_was_given_up) == "stream_stopped"


def large_step(last: float) -> TrainStep:
    rows = np.ones((200_000, 6), np.float32)
    rows[-1, -1] = last
    return TrainStep(batch=Batch(hidden_states=rows), loss=parse_loss("reconstruction"))


async def while_the_thread_is_busy(service: Service) -> tuple[bool, str]:
    """A large step that cannot be made, and whether the loop itself found that out."""
    await service.create("m", CONFIG)
    is_free = Event()
    busy = service.aside(is_free.wait)
    answer = asyncio.ensure_future(service.train_step("m", large_step(np.nan)))
    for _ in range(3):
        await asyncio.sleep(0)
    was_found = answer.done()
    is_free.set()
    _, end = await asyncio.gather(busy, answer, return_exceptions=True)
    return was_found, getattr(end, "code", "applied")


def test_the_values_of_a_large_step_are_looked_at_beside_the_loop(tmp_path: Path) -> None:
    assert live_once(tmp_path, while_the_thread_is_busy) == (False, "non_finite_input")


async def a_large_step(service: Service) -> int:
    await service.create("m", CONFIG)
    return (await service.train_step("m", large_step(1.0))).answer.rows


def test_a_large_step_is_made(tmp_path: Path) -> None:
    assert live_once(tmp_path, a_large_step) == 200_000


async def wider_than_the_model(service: Service) -> str:
    await service.create("m", CONFIG)
    wide = TrainStep(batch=Batch(hidden_states=np.ones((200_000, 7), np.float32)))
    try:
        await service.steps.begin("m", wide)  # nobody looked: the model may be another one since
    except Unacceptable as error:
        return error.code
    return "applied"


def test_a_large_step_for_another_width_is_refused_without_a_look(tmp_path: Path) -> None:
    assert live_once(tmp_path, wider_than_the_model) == "shape_mismatch"


async def look_at_wide_targets(service: Service) -> str:
    """A few rows, whose targets alone take long to look at."""
    await service.create("m", CONFIG)
    targets = np.full((5, 1 << 18), np.nan, np.float32)
    wide = TrainStep(batch=replace(step(0).batch, targets=targets), loss=parse_loss("procrustes"))
    with pytest.raises(Unacceptable) as refusal:
        await service.steps.look("m", wide)
    return refusal.value.pointer


def test_all_arrays_of_a_step_say_whether_it_is_large(tmp_path: Path) -> None:
    assert live_once(tmp_path, look_at_wide_targets) == "/targets/0/0"
