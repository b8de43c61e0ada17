"""What an operator reads while a disk is full: a line when it begins, a line when it ends."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from app.engine import Engine, choose_device
from app.errors import StorageFull
from app.service import Service
from app.settings import Settings
from app.storage.repository import Repository
from app.storage.system import System
from tests.unit.service.examples import CONFIG, step


class _Disk(System):
    """A disk that takes new files only while it has room."""

    def __init__(self) -> None:
        self.is_full = False
        self.write: Callable[..., int] = self._write

    def _write(self, *arguments: Any) -> int:
        if self.is_full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return os.write(*arguments)


def _live(root: Path, scenario: Callable[[Service, _Disk], Awaitable[None]], **given: Any) -> None:
    async def life() -> None:
        settings, disk = Settings(models_dir=root, **given), _Disk()
        engine = Engine(choose_device("cpu"), settings)
        service = Service(engine, Repository(root, disk), settings)
        await service.start()
        await service.create("m", CONFIG)
        try:
            await scenario(service, disk)
        finally:
            disk.is_full = False
            await service.close()

    asyncio.run(life())


def test_refused_training_is_said_once_and_so_is_its_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(service: Service, disk: _Disk) -> None:
        disk.is_full = True
        for number in range(3):
            with pytest.raises(StorageFull):
                await service.train_step("m", step(number))
        disk.is_full = False
        for number in range(2):
            await service.train_step("m", step(number))

    with caplog.at_level(logging.INFO, "slimvec.history"):
        _live(tmp_path, scenario)
    said = [record for record in caplog.records if record.name == "slimvec.history"]
    full = "training is refused: no space left to write the journal of 'm'; free some and try again"
    assert [(record.levelname, record.getMessage()) for record in said] == [
        ("WARNING", full), ("INFO", "training goes on"),
    ]  # fmt: skip


def test_a_checkpoint_that_has_no_room_is_put_off_in_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(service: Service, disk: _Disk) -> None:
        await service.train_step("m", step(0))
        disk.is_full = True
        while not caplog.records:
            await asyncio.sleep(0.02)

    with caplog.at_level(logging.WARNING, "slimvec.checkpoints"):
        _live(tmp_path, scenario, checkpoint_every_s=0.01)
    (said,) = caplog.records
    assert (said.levelname, said.exc_info) == ("WARNING", None)
    assert said.getMessage().startswith("checkpoint put off: no space left to store version 2")
