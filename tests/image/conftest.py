"""Builds the image once; brings the compose file up once a module."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.image import engine
from tests.image.deployment import Deployment


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of the CPU image, built from this tree and removed at the end."""
    if reason := engine.missing():
        pytest.skip(reason)
    engine.build(tmp_path_factory.mktemp("build"))
    yield engine.IMAGE
    engine.run("podman", "rmi", "--force", engine.IMAGE, limit_s=300)


@pytest.fixture(scope="session")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compose")


@pytest.fixture(scope="module")
def deployment(image: str, scratch: Path) -> Iterator[Deployment]:
    """The service of the profile cpu, ready, on a volume that was empty."""
    secrets = scratch / "secrets"
    key = engine.add_key(image, secrets)
    with Deployment(engine.compose_command(scratch), secrets, key) as deployment:
        deployment.up()
        yield deployment
