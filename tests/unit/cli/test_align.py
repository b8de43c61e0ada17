"""`slimvec align`: what is said of two versions, and the map as a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from app.cli import main
from app.client import Client
from tests.server import RunningServer, create, declare, serving

ROWS = np.random.default_rng(2).standard_normal((64, 8)).astype(np.float32)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with serving(tmp_path_factory.mktemp("models")) as running:
        create(running, "small", declare(8, 3, observe=True, loss="similarity"))
        create(running, "forgetful", declare(8, 3))
        with Client(running.url) as client:
            client.train_step(ROWS)
        yield running


def align(server: RunningServer, *arguments: str | Path) -> Any:
    return CliRunner().invoke(main, ["align", *map(str, arguments), "--url", server.url])


def test_the_figures_are_said_and_the_map_is_written(server: RunningServer, tmp_path: Path) -> None:
    out = tmp_path / "map.npy"
    result = align(server, "2", "--to", "1", "--out", out)
    with Client(server.url) as client:
        found = client.alignment(2, 1)
    assert result.exit_code == 0, result.output
    np.testing.assert_array_equal(np.load(out), found.rotation)
    first, _, cosines, across, own, last = result.output.splitlines()
    assert first.startswith("model small: version 2 into the space of version 1, from the second")
    assert cosines.split()[2:] == [f"{found.cosine:.4f}", f"{found.cosine_aligned:.4f}"]
    assert across.split()[4:] == [f"{found.nn10:.4f}", f"{found.nn10_aligned:.4f}"]
    assert own.split()[4:] == [f"{found.nn10_own:.4f}"]
    assert last == "64 queries in 64 remembered vectors"


def test_live_is_meant_where_no_version_is_named(server: RunningServer) -> None:
    assert "version 1 into the space of version 2" in align(server, "1").output


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("1", "--to", "first"), 2, "expected a version number, or live"),
        (("0",), 2, "0 is not in the range"),
        (("1", "--to", "9"), 1, "version 9 of model 'small' is not retained"),
        (("1", "--model", "forgetful"), 1, 'create it with the recipe "distil"'),
        (("1", "--out", "no-such/map.npy"), 1, "expected a file to write at no-such"),
    ],
)
def test_what_cannot_be_is_said(
    server: RunningServer, arguments: tuple[str, ...], status: int, said: str
) -> None:
    result = align(server, *arguments)
    assert (result.exit_code, said in result.output) == (status, True), result.output
