"""Large work beside the loop, and a cold version that is read once."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from threading import Event
from typing import TypeVar

import numpy as np
import pytest
import torch

from app.config import parse_config
from app.engine import Engine, choose_device
from app.errors import NotFound, Unacceptable, Unavailable
from app.service import ReduceOptions, Service
from app.settings import Settings
from app.storage.repository import Repository
from app.types import Batch, FloatArray, TrainStep, VersionFiles
from tests.unit.engine.rows import random_rows

T = TypeVar("T")

WIDTH = 64
CONFIG = parse_config({"input_size": WIDTH, "layers": [{"type": "QRReduction", "n_components": 8}]})
ONE = random_rows(1, WIDTH)
# More multiply-adds than run on the event loop.
LARGE = random_rows(70_000, WIDTH)


class CountingRepository(Repository):
    """Counts how often a version is read, and can be told to wait with it."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.reads = 0
        self.word = Event()
        self.word.set()

    def read(self, model: str, version: int) -> VersionFiles:
        self.reads += 1
        self.word.wait(30)
        return super().read(model, version)


def live_once(root: Path, scenario: Callable[[Service, CountingRepository], Awaitable[T]]) -> T:
    async def life() -> T:
        settings = Settings(models_dir=root)
        repository = CountingRepository(root)
        service = Service(Engine(choose_device("cpu"), settings), repository, settings)
        await service.start()
        await service.create("m", CONFIG)
        try:
            return await scenario(service, repository)
        finally:
            repository.word.set()
            await service.close()

    return asyncio.run(life())


async def leave_first_version(service: Service, repository: CountingRepository) -> None:
    """Version 1 is retained, and not in memory."""
    await service.train_step("m", TrainStep(batch=Batch(hidden_states=random_rows(4, WIDTH))))
    repository.reads = 0


def of_first(service: Service) -> Awaitable[object]:
    return service.reduce("m", ONE, ReduceOptions(version=1))


def test_a_small_request_is_answered_before_a_large_one_that_came_first(tmp_path: Path) -> None:
    async def race(service: Service, _: CountingRepository) -> list[int]:
        answered: list[int] = []

        async def ask(rows: FloatArray) -> None:
            answered.append(len((await service.reduce("m", rows)).array))

        await asyncio.gather(ask(LARGE), ask(ONE))
        return answered

    assert live_once(tmp_path, race) == [1, len(LARGE)]


def test_a_large_request_has_the_rows_of_a_small_one(tmp_path: Path) -> None:
    async def both(service: Service, _: CountingRepository) -> tuple[FloatArray, FloatArray]:
        options = ReduceOptions(normalize=True)
        whole = await service.reduce("m", LARGE.reshape(7, 10_000, WIDTH), options)
        few = await service.reduce("m", LARGE[10_000:10_003], options)
        return whole.array, few.array

    whole, few = live_once(tmp_path, both)
    assert whole.shape == (7, 10_000, 8)
    np.testing.assert_allclose(whole[1, :3], few, atol=1e-6)


def test_a_large_request_that_is_not_finite_is_told_where(tmp_path: Path) -> None:
    bad = LARGE.copy()
    bad[69_000, 5] = np.inf

    async def refused(service: Service, _: CountingRepository) -> str:
        with pytest.raises(Unacceptable) as refusal:
            await service.reduce("m", bad)
        return refusal.value.pointer

    assert live_once(tmp_path, refused) == "/hidden_states/69000/5"


def test_what_is_done_aside_is_done_in_order_and_beside_the_loop(tmp_path: Path) -> None:
    async def order(service: Service, _: CountingRepository) -> list[str]:
        done: list[str] = []
        word = Event()
        waiting = [
            service.aside(lambda: done.append("held") if word.wait(30) else None),
            service.aside(lambda: done.append("next")),
        ]
        done.append("loop")
        word.set()
        await asyncio.gather(*waiting)
        return done

    assert live_once(tmp_path, order) == ["loop", "held", "next"]


def test_memory_that_work_aside_does_not_find_is_said_as_such(tmp_path: Path) -> None:
    async def refused(service: Service, _: CountingRepository) -> list[str]:
        codes = []
        for attempt in (lambda: torch.empty(1 << 50), lambda: np.empty(1 << 55)):
            with pytest.raises(Unavailable) as refusal:
                await service.aside(attempt)
            codes.append(refusal.value.code)
        return codes

    assert live_once(tmp_path, refused) == ["out_of_memory", "out_of_memory"]


def test_a_cold_version_that_many_ask_for_is_read_once(tmp_path: Path) -> None:
    async def ask(service: Service, repository: CountingRepository) -> int:
        await leave_first_version(service, repository)
        await asyncio.gather(*(of_first(service) for _ in range(40)))
        await of_first(service)
        return repository.reads

    assert live_once(tmp_path, ask) == 1


def test_whoever_goes_does_not_take_a_cold_version_from_the_others(tmp_path: Path) -> None:
    async def ask(service: Service, repository: CountingRepository) -> int:
        await leave_first_version(service, repository)
        repository.word.clear()
        first, second = (asyncio.ensure_future(of_first(service)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        repository.word.set()
        await second
        return repository.reads

    assert live_once(tmp_path, ask) == 1


def test_a_cold_version_that_could_not_be_read_is_asked_for_again(tmp_path: Path) -> None:
    async def ask(service: Service, repository: CountingRepository) -> list[type]:
        await leave_first_version(service, repository)
        folder = tmp_path / "m" / "1"
        folder.rename(tmp_path / "elsewhere")
        options = ReduceOptions(version=1)
        asked = [service.reduce("m", ONE, options) for _ in range(2)]
        found = await asyncio.gather(*asked, return_exceptions=True)
        (tmp_path / "elsewhere").rename(folder)
        return [*map(type, found), type(await service.reduce("m", ONE, options))]

    kinds = live_once(tmp_path, ask)
    assert [kind.__name__ for kind in kinds] == [NotFound.__name__] * 2 + ["Reduced"]


def test_a_large_request_that_failed_keeps_no_rows_alive(tmp_path: Path) -> None:
    async def refused(service: Service, _: CountingRepository) -> bool:
        rows = LARGE.copy()
        kept = weakref.ref(rows)
        snapshot = service.live("m").snapshot
        snapshot.product = lambda _: torch.empty(1 << 50)  # torch's own error
        with suppress(Unavailable):  # pytest.raises would keep the error itself
            await service.reduce("m", rows)
        del rows
        await service.aside(lambda: None)  # its thread and the loop have gone on
        return kept() is None

    gc.disable()  # what only a collection would find is kept too long
    try:
        assert live_once(tmp_path, refused)
    finally:
        gc.enable()
