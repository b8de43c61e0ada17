"""Statement 14: a disk that cannot be written to serves on, and says that it trains no more."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash import mounts, reference
from tests.crash.processes import ForkServer, Served
from tests.crash.trial import CALM
from tests.crash.wire import Wire

_MISSING = mounts.missing("mount", "losetup", "mkfs.ext4")
pytestmark = pytest.mark.skipif(bool(_MISSING), reason=_MISSING)


@pytest.fixture
def disk(template: Path, tmp_path: Path) -> Iterator[Path]:
    """An ext4 disk with the model on it."""
    image = tmp_path / "disk.img"
    mounts.make_image(image, 64 << 20, "mkfs.ext4", "-q")
    target, options = tmp_path / "disk", ("-o", "errors=remount-ro")
    with (
        mounts.loop(image) as device,
        mounts.mounted(device, target, *options) as folder,
    ):
        shutil.copytree(template, folder / "models")
        yield folder


def test_a_start_on_a_read_only_disk_serves_and_does_not_train(
    forks: ForkServer, disk: Path
) -> None:
    with Served(forks, disk / "models", CALM) as served, Wire(served.ready()) as wire:
        assert wire.train(reference.body(1), "step-1").status == 200
        served.kill()  # the journal is left with a row to replay
    mounts.run("mount", "-o", "remount,ro", str(disk))
    with Served(forks, disk / "models", CALM) as served, Wire(served.ready()) as wire:
        assert serves_only(wire) == (503, "read_only", 200)
        assert wire.state()["state_digest"] == reference.train([1]).state_digests[2]
        ready = wire.send("GET", "/health/ready")
        assert ready.status == 200
        assert "read_only" in ready.body.decode()
        assert served.stop() == 0, served.text


def test_a_disk_that_turns_read_only_stops_training_and_not_serving(
    forks: ForkServer, disk: Path
) -> None:
    with Served(forks, disk / "models", CALM) as served, Wire(served.ready()) as wire:
        assert wire.train(reference.body(1), "step-1").status == 200
        # What ext4 does by itself after a fault; a plain remount is refused while files are open.
        mounts.run("mount", "-o", "remount,abort", str(disk))
        first = wire.train(reference.body(2), "step-2")
        assert (first.status, first.code in ("read_only", "outcome_unknown")) == (503, True)
        status, code, reduced = serves_only(wire)
        assert (status, code in ("read_only", "storage_failed"), reduced) == (503, True, 200)
        ready = wire.send("GET", "/health/ready")
        assert (ready.status, code in ready.body.decode()) == (200, True)
        served.kill()


def serves_only(wire: Wire) -> tuple[int, str, int]:
    """How a train step is refused, and the status of a reduce after it."""
    refused = wire.train(reference.body(3), "step-3")
    return refused.status, refused.code, wire.reduce(reference.body(0)).status
