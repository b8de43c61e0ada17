"""The age of a key counts the time that its model was served, over all starts."""

from __future__ import annotations

from pathlib import Path

from app.engine import Engine, choose_device
from app.service import Service
from app.service.history import Moment
from app.service.version_files import to_files
from app.settings import Settings
from app.storage import Repository
from app.types import Position
from tests.unit.service.examples import CONFIG, live_once


async def served_s(service: Service) -> float:
    return service.histories["m"].clock_s


def test_a_start_goes_on_from_the_time_of_the_checkpoint(tmp_path: Path) -> None:
    engine = Engine(choose_device("cpu"), Settings())
    moment = Moment(position=Position(0, 0), clock_s=1000.0, serving="live", keys=[])
    Repository(tmp_path).write("m", 1, to_files(engine.initial(CONFIG), "initial", moment))
    engine.close(1)
    assert live_once(tmp_path, served_s) > 1000.0
