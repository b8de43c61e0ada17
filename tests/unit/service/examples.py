"""A service's lives, its crashes, and the steps that fill them."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from app.config import parse_config
from app.engine import Engine, choose_device
from app.service import Service, make_key
from app.settings import Settings
from app.storage.repository import Repository
from app.types import Batch, Key, StateDescription, TrainStep

T = TypeVar("T")
Scenario = Callable[[Service], Awaitable[T]]

CONFIG = parse_config(
    {
        "input_size": 6,
        "layers": [{"type": "QRReduction", "n_components": 2}],
        "optimizer": {"type": "Adam", "lr": 0.01},
        "recipe": "plain",
    }
)


def step(seed: int) -> TrainStep:
    rows = np.random.default_rng(seed).standard_normal((5, 6)).astype(np.float32)
    return TrainStep(batch=Batch(hidden_states=rows))


def key(name: str, seed: int) -> Key:
    return make_key(name, "", step(seed))


def live_once(
    root: Path, scenario: Scenario[T], *, crash_to: Path | None = None, **given: Any
) -> T:
    """A life of a service; `crash_to` gets the directory as a kill would leave it."""

    async def life() -> T:
        root.mkdir(exist_ok=True)
        settings = Settings(models_dir=root, **given)
        engine = Engine(choose_device("cpu"), settings)
        service = Service(engine, Repository(root), settings)
        await service.start()
        try:
            result = await scenario(service)
            if crash_to is not None:
                shutil.copytree(root, crash_to)
            return result
        finally:
            await service.close()

    return asyncio.run(life())


async def learn(service: Service) -> StateDescription:
    """A model, three steps, a checkpoint, three more steps."""
    await service.create("m", CONFIG)
    for seed in range(3):
        await service.train_step("m", step(seed))
    await service.checkpoint("m")
    for seed in range(3, 6):
        await service.train_step("m", step(seed))
    return await service.state("m")


async def look(service: Service) -> StateDescription:
    return await service.state("m")


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
