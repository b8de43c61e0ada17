"""The server that other people's clients drive: a process of the project's own environment."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import httpx
import pytest

from tests.conftest import MODELS
from tests.e2e.process import ServerProcess

# Only the environment of `make interop-test` has the clients.
_CLIENTS = ("kserve", "openai", "tritonclient")
collect_ignore_glob = [] if all(map(find_spec, _CLIENTS)) else ["test_*.py"]

PYTHON = Path(__file__).parents[2] / ".venv" / "bin" / "python"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A server with the models of `MODELS`, as our own client sees it."""
    models_dir = tmp_path_factory.mktemp("models")
    with ServerProcess(models_dir, "--default-model", "small", python=PYTHON) as process:
        for name, document in MODELS.items():
            process.client.put(f"/models/{name}", json=document).raise_for_status()
        yield process.client


@pytest.fixture(scope="module")
def address(served: httpx.Client) -> str:
    """Host and port of that server."""
    return f"{served.base_url.host}:{served.base_url.port}"
