"""What readers are told about a model is told about one version of it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from threading import Event

from app.engine import Engine, choose_device
from app.service import Service
from app.settings import Settings
from app.storage.repository import Repository
from app.types import ModelDescription
from tests.unit.service.examples import CONFIG, step


class Slow(Repository):
    """Lists versions only when it may."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.is_asked, self.may_answer = Event(), Event()
        self.may_answer.set()

    def versions(self, model: str) -> list[int]:
        self.is_asked.set()
        assert self.may_answer.wait(30)
        return super().versions(model)


def test_a_description_during_a_step_is_of_one_version(tmp_path: Path) -> None:
    store = Slow(tmp_path)

    async def describe_during_a_step(service: Service) -> ModelDescription:
        await service.create("m", CONFIG)
        store.may_answer.clear()
        store.is_asked.clear()
        described = asyncio.ensure_future(service.describe("m"))
        assert await asyncio.to_thread(store.is_asked.wait, 30)
        await service.train_step("m", step(0))
        store.may_answer.set()
        return await described

    async def life() -> ModelDescription:
        settings = Settings(models_dir=tmp_path)
        service = Service(Engine(choose_device("cpu"), settings), store, settings)
        await service.start()
        try:
            return await describe_during_a_step(service)
        finally:
            store.may_answer.set()
            await service.close()

    found = asyncio.run(life())
    assert (found.version, found.step) in [(1, 0), (2, 1)]
