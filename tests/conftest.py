"""What every test directory shares: a clean environment and real servers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from app.settings import ENV_PREFIX
from tests.server import Config, RunningServer, create, declare, serving

ServerFactory = Callable[..., RunningServer]
ModelFactory = Callable[..., str]

MODELS: dict[str, Config] = {
    "small": declare(8, 3),
    "nested": declare(8, 3, nested=True),
    "wide": declare(384, 96),
}


# On a busy machine a deadline is a timing assertion.
hypothesis.settings.register_profile("no_deadline", deadline=None)
hypothesis.settings.load_profile("no_deadline")


@pytest.fixture(autouse=True, scope="session")
def _no_settings_from_outside() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.upper().startswith(ENV_PREFIX)]:
            patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def server(
    tmp_path_factory: pytest.TempPathFactory, _no_settings_from_outside: None
) -> Iterator[RunningServer]:
    """One server for all tests that leave the models of `MODELS` as they are."""
    with serving(tmp_path_factory.mktemp("models")) as running:
        for name, document in MODELS.items():
            create(running, name, document)
        yield running


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[ServerFactory]:
    """Start servers of one's own, with any settings; all are stopped at the end."""
    with ExitStack() as stack:

        def start(models_dir: Path | None = None, **settings: Any) -> RunningServer:
            return stack.enter_context(serving(models_dir or tmp_path / "models", **settings))

        yield start


_numbers = count(1)


@pytest.fixture
def new_model(server: RunningServer) -> Iterator[ModelFactory]:
    """Create a model of one's own on the shared server; it is deleted at the end."""
    names: list[str] = []

    def make(document: Config | None = None) -> str:
        names.append(f"own-{next(_numbers)}")
        create(server, names[-1], document or MODELS["small"])
        return names[-1]

    yield make
    for name in names:
        server.http.delete(f"/models/{name}")
