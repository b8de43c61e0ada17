"""The fork server, and a models directory with one fresh model to copy from."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import orjson
import pytest

from tests.crash import strace
from tests.crash.processes import ForkServer, Served
from tests.crash.reference import CONFIG, MODEL
from tests.crash.strace import Point
from tests.crash.trial import Rig, make_rig
from tests.crash.wire import Wire

NewModels = Callable[[], Path]


@pytest.fixture(scope="session")
def forks() -> Iterator[ForkServer]:
    """One fork server for all rigs."""
    with ForkServer() as server:
        yield server


@pytest.fixture(scope="session")
def template(forks: ForkServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models directory with the model at version 1; only ever copied."""
    models_dir = tmp_path_factory.mktemp("template") / "models"
    with Served(forks, models_dir, ("--default-model", MODEL)) as served:
        with Wire(served.ready()) as wire:
            created = wire.send("PUT", f"/models/{MODEL}", orjson.dumps(CONFIG))
        assert created.status == 201, created.body
        assert served.stop() == 0, served.text
    return models_dir


@pytest.fixture(scope="session")
def rig(forks: ForkServer, template: Path, tmp_path_factory: pytest.TempPathFactory) -> Rig:
    """The scenario, and what comes out of it when nothing happens."""
    return make_rig(forks, template, tmp_path_factory.mktemp("reference") / "models")


@pytest.fixture(scope="session")
def points(rig: Rig, tmp_path_factory: pytest.TempPathFactory) -> list[Point]:
    """Every call of an uninterrupted run that changes the models directory, drain included."""
    folder = tmp_path_factory.mktemp("count")
    models_dir = rig.copy(folder / "models")
    walk, code = rig.traced(models_dir, strace.watching(), folder / "calls")
    assert (walk.is_done, code) == (True, 0), walk
    return strace.points(folder / "calls", models_dir)


@pytest.fixture
def new_models(template: Path, tmp_path: Path) -> NewModels:
    """Make copies of the template, each for one trial."""
    numbers = count(1)

    def copy() -> Path:
        return Path(shutil.copytree(template, tmp_path / f"models-{next(numbers)}"))

    return copy
