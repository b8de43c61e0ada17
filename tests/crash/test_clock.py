"""Statement 15: the wall clock may jump; nothing expires, nothing stops."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

from tests.crash import reference
from tests.crash.reference import MODEL
from tests.crash.wire import Wire
from tests.e2e.process import ServerProcess

_LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
_DAYS = (1, -1, 400, -400)
# A key is remembered for its age alone, and not for being among the newest.
_FLAGS = ("--default-model", MODEL, "--device", "cpu", "--idempotency-keys", "1")

pytestmark = pytest.mark.skipif(not _LIBRARIES, reason="libfaketime is not installed")


def test_jumps_of_the_clock_change_nothing(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = pretend_clock(tmp_path / "clock", monkeypatch)
    models_dir = Path(shutil.copytree(template, tmp_path / "models"))
    with ServerProcess(models_dir, *_FLAGS) as server:
        with Wire((server.client.base_url.host, server.client.base_url.port or 0)) as wire:
            first = wire.train(reference.body(1), "step-1")
            for number, days in enumerate(_DAYS, start=2):
                jump(wire, clock, days)
                again = wire.train(reference.body(1), "step-1")
                assert (again.is_replayed, again.body) == (True, first.body)
                step = wire.train(reference.body(number), f"step-{number}")
                assert (step.status, step.json["version"]) == (200, number + 1)
                assert wire.reduce(reference.body(0)).status == 200
            state = wire.state()["state_digest"]
        assert server.stop() == 0
    assert state == reference.train(range(1, len(_DAYS) + 2)).state_digests[len(_DAYS) + 2]


def jump(wire: Wire, clock: Path, days: int) -> None:
    """Set the server's clock, and ask for the time until it says the new one."""
    clock.write_text(f"{days:+d}d\n")
    wanted, is_there = datetime.now(UTC) + timedelta(days=days), False
    while not is_there:
        told = parsedate_to_datetime(wire.send("GET", "/health/live").headers["date"])
        is_there = abs(told - wanted) < timedelta(hours=1)


def pretend_clock(file: Path, patch: pytest.MonkeyPatch) -> Path:
    """Let the processes that are started from now on read the time's offset from a file."""
    file.write_text("+0d\n")
    patch.setenv("LD_PRELOAD", str(_LIBRARIES[0]))
    patch.setenv("FAKETIME_TIMESTAMP_FILE", str(file))
    patch.setenv("FAKETIME_CACHE_DURATION", "1")  # at every call, a start would take a minute
    patch.setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1")
    patch.setenv("NO_FAKE_STAT", "1")
    return file
