"""Statement 13 on a real full disk: refused, unchanged, and well again when there is space."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash import mounts, reference
from tests.crash.processes import ForkServer, Served
from tests.crash.reference import MODEL
from tests.crash.trial import CALM
from tests.crash.wire import Wire

_MISSING = mounts.missing("mount")
pytestmark = pytest.mark.skipif(bool(_MISSING), reason=_MISSING)


@pytest.fixture
def disk(template: Path, tmp_path: Path) -> Iterator[Path]:
    """A small disk with the model on it."""
    with mounts.small_disk(tmp_path / "disk", "16m") as folder:
        shutil.copytree(template, folder / "models")
        yield folder


def test_a_full_disk_refuses_steps_and_takes_them_again_when_freed(
    forks: ForkServer, disk: Path
) -> None:
    with Served(forks, disk / "models", CALM) as served, Wire(served.ready()) as wire:
        versions = [train(wire, number)["version"] for number in (1, 2, 3)]
        before, reduced = wire.state(), wire.reduce(reference.body(0)).body
        fill(disk)
        refused = wire.train(reference.body(4), "step-4")
        assert (refused.status, refused.code) == (507, "storage_full")
        assert wire.state()["state_digest"] == before["state_digest"]
        assert wire.reduce(reference.body(0)).body == reduced
        free(disk)
        versions.append(train(wire, 4)["version"])
        assert versions == [2, 3, 4, 5]
        assert wire.state()["state_digest"] == reference.train([1, 2, 3, 4]).state_digests[5]
        served.kill()
    assert recovered(forks, disk) == reference.train([1, 2, 3, 4]).state_digests[5]


def test_a_checkpoint_on_a_full_disk_fails_and_leaves_nothing(
    forks: ForkServer, disk: Path
) -> None:
    with Served(forks, disk / "models", CALM) as served, Wire(served.ready()) as wire:
        train(wire, 1)
        fill(disk)
        there = names(disk / "models" / MODEL)
        refused = wire.send("POST", f"/models/{MODEL}/versions")
        assert (refused.status, refused.code) == (507, "storage_full")
        assert names(disk / "models" / MODEL) == there
        free(disk)
        assert wire.send("POST", f"/models/{MODEL}/versions").status == 201
        train(wire, 2)
        served.kill()
    assert recovered(forks, disk) == reference.train([1, 2]).state_digests[3]


def test_a_server_killed_on_a_full_disk_loses_nothing(forks: ForkServer, disk: Path) -> None:
    with Served(forks, disk / "models", CALM) as served, Wire(served.ready()) as wire:
        train(wire, 1)
        fill(disk)
        assert wire.train(reference.body(2), "step-2").status == 507
        served.kill()
    free(disk)
    assert recovered(forks, disk) == reference.train([1]).state_digests[2]


def train(wire: Wire, number: int) -> dict[str, int]:
    """One accepted step's answer."""
    reply = wire.train(reference.body(number), f"step-{number}")
    assert reply.status == 200, reply
    answer: dict[str, int] = reply.json
    return answer


def recovered(forks: ForkServer, disk: Path) -> str:
    """The state digest after a restart."""
    with Served(forks, disk / "models", CALM) as served, Wire(served.ready()) as wire:
        return str(wire.state()["state_digest"])


def fill(disk: Path) -> None:
    """Take every byte that is left; what a write has taken is kept."""
    with (disk / "ballast").open("ab", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                os.fsync(file.fileno())


def free(disk: Path) -> None:
    """Give the space back."""
    (disk / "ballast").unlink()


def names(folder: Path) -> list[str]:
    """Everything below a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
