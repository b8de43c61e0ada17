"""Texts by way of an embedder: what is kept of it, also where nothing can be written."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from app.engine import Engine, choose_device
from app.errors import Conflict, QueueFull, SlimvecError
from app.service import Service
from app.settings import Settings
from app.storage.repository import Repository
from app.types import Embedded, TextRequest
from tests.unit.service.examples import CONFIG, live_once


@dataclass
class Embedder:
    """Makes rows of ones under the names that it is given, one after another."""

    names: list[str]
    is_closed: bool = False

    async def embed(self, request: TextRequest, *, input_size: int) -> Embedded:
        rows = np.ones((len(request.inputs), input_size), np.float32)
        name = self.names.pop(0)
        await asyncio.sleep(0)
        return Embedded(hidden_states=rows, model=name, prompt_tokens=1, total_tokens=1)

    async def close(self) -> None:
        self.is_closed = True


def live(
    root: Path, embedder: Embedder, *, is_writable: bool = True, **given: int
) -> Callable[[Callable[[Service], Awaitable[None]]], None]:
    """A life of a service with that embedder; it has the model `m`."""
    live_once(root, lambda service: service.create("m", CONFIG))

    async def life(scenario: Callable[[Service], Awaitable[None]]) -> None:
        settings = Settings(models_dir=root, **given)  # type: ignore[arg-type] # sizes only
        engine = Engine(choose_device("cpu"), settings)
        store = Repository(root)
        service = Service(engine, store, settings, is_writable=is_writable, embedder=embedder)
        await service.start()
        try:
            await scenario(service)
        finally:
            await service.close()

    return lambda scenario: asyncio.run(life(scenario))


async def ask(service: Service, texts: int = 1) -> str:
    with service.admission.admit() as ticket:
        request = TextRequest(inputs=["x"] * texts)
        return (await service.texts.reduce("m", request, ticket=ticket)).embedded.model


def test_two_first_uses_at_once_agree_on_one_upstream(tmp_path: Path) -> None:
    async def scenario(service: Service) -> None:
        found = await asyncio.gather(*(ask(service) for _ in range(8)), return_exceptions=True)
        kept = (await service.texts.describe("m")).model
        refused = [error for error in found if isinstance(error, SlimvecError)]
        assert [name for name in found if isinstance(name, str)] == [kept] * 4
        assert [error.code for error in refused] == ["upstream_changed"] * 4

    live(tmp_path, Embedder(["a", "b"] * 4))(scenario)


def test_where_nothing_can_be_written_it_is_known_until_the_end(tmp_path: Path) -> None:
    async def scenario(service: Service) -> None:
        assert await ask(service) == "a"
        with pytest.raises(Conflict):
            await ask(service)
        assert (await service.texts.describe("m")).model == "a"

    live(tmp_path, Embedder(["a", "b"]), is_writable=False)(scenario)
    assert not (tmp_path / "m" / "upstream.json").exists()


def test_the_embeddings_need_room_in_memory_before_they_are_asked_for(tmp_path: Path) -> None:
    embedder = Embedder(["a"])

    async def scenario(service: Service) -> None:
        with service.admission.admit(1 << 19), pytest.raises(QueueFull):
            await ask(service, texts=(1 << 19) // (6 * 4) + 1)
        assert service.admission.num_bytes == 0

    live(tmp_path, embedder, max_bytes_in_flight=1 << 20)(scenario)
    assert embedder.names == ["a"]


def test_the_embedder_is_closed_with_the_service(tmp_path: Path) -> None:
    embedder = Embedder([])

    async def scenario(_: Service) -> None: ...

    live(tmp_path, embedder)(scenario)
    assert embedder.is_closed
