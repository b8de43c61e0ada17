"""The journal on disks that are full, read-only, or read by two processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.errors import StorageFull, Unavailable
from app.storage import Repository
from app.types import Position, Retention
from tests.unit.storage.examples import opened, read_back, rows, taken_at, written


def fill(disk: Path) -> Path:
    """Take all space but that of a few small files."""
    space = os.statvfs(disk)
    ballast = disk / "ballast"
    ballast.write_bytes(b"x" * (space.f_bavail - 2) * space.f_frsize)
    return ballast


def remount(disk: Path, option: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{option}", str(disk)], check=True)


def test_a_full_disk_refuses_rows_and_takes_them_when_space_returns(small_disk: Path) -> None:
    journal = opened(small_disk)
    journal.append(rows(1, 1, num_bytes=50_000))
    ballast = fill(small_disk)
    for _ in range(2):
        with pytest.raises(StorageFull):
            journal.append(rows(2, 2, num_bytes=150_000))
        assert read_back(small_disk) == rows(1, 1, num_bytes=50_000)
    ballast.unlink()
    journal.append(rows(2, 3))
    journal.close()
    assert read_back(small_disk) == rows(1, 1, num_bytes=50_000) + rows(2, 3)


def test_a_write_that_stops_short_leaves_no_garbage(small_disk: Path) -> None:
    journal = opened(small_disk)
    journal.append(rows(1, 1))
    with pytest.raises(StorageFull):  # a part of the group still finds room
        journal.append(rows(2, 11, num_bytes=150_000))
    journal.append(rows(2, 2))
    journal.close()
    assert read_back(small_disk) == rows(1, 2)


def test_on_a_full_disk_a_new_file_is_refused_and_leaves_nothing(small_disk: Path) -> None:
    journal = opened(small_disk)
    journal.append(rows(1, 1))
    journal.rotate(2)
    ballast = fill(small_disk)
    with pytest.raises(StorageFull):
        journal.append(rows(2, 2))
    names = {path.name for path in (small_disk / "news").iterdir()}
    assert names == {f"journal-1.sqlite3{side}" for side in ("", "-wal", "-shm")} | {"journal.mark"}
    ballast.unlink()
    journal.append(rows(2, 2))
    journal.close()
    assert read_back(small_disk) == rows(1, 2)


def test_retention_needs_no_space(small_disk: Path) -> None:
    folder = written(small_disk, 1, 1)
    repository, end = Repository(small_disk), Position(2, 0)
    for number in (1, 2):
        repository.write("news", number, taken_at(number, end))
    for shm in folder.glob("*-shm"):
        shm.unlink()
    space = os.statvfs(small_disk)
    (small_disk / "ballast").write_bytes(b"x" * space.f_bavail * space.f_frsize)
    repository.retain("news", Retention(checkpoints=2, num_bytes=1 << 40, age_s=1e9))
    assert not list(folder.glob("journal-1.*"))


@pytest.mark.parametrize("has_index", [True, False])
def test_a_read_only_disk_is_read_and_says_so_when_written(
    small_disk: Path, has_index: bool
) -> None:
    for shm in written(small_disk, 2, 2).glob("*-shm"):
        if not has_index:
            shm.unlink()
    remount(small_disk, "ro")
    journal = opened(small_disk)
    with pytest.raises(Unavailable) as raised:
        journal.append(rows(5, 5))
    journal.close()
    assert raised.value.code == "read_only"
    assert (read_back(small_disk), Repository(small_disk).journal_end("news")) == (rows(1, 4), 4)


def test_rows_are_read_beside_a_live_writer_in_another_process(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout
        acknowledged = 0
        while acknowledged < 100:
            acknowledged = int(writer.stdout.readline())
            found = read_back(tmp_path)
            assert found == rows(1, len(found))
            assert len(found) >= acknowledged
        writer.kill()
        writer.wait()
        last = max([acknowledged, *map(int, writer.stdout.read().split()[:-1])])
    assert len(read_back(tmp_path)) >= last


WRITER = """
import sys
from pathlib import Path
from tests.unit.storage.examples import opened, rows

journal = opened(Path(sys.argv[1]))
seq = 0
while True:
    journal.append(rows(seq + 1, seq + 3))
    seq += 3
    print(seq, flush=True)
    if seq % 30 == 0:
        journal.rotate(seq + 1)
"""
