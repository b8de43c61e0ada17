from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from app.errors import StartupError
from app.storage import lock

HOLDER = """
import sys
from pathlib import Path
from app.storage import lock

with lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def start_holder(root: Path) -> subprocess.Popen[bytes]:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout
    assert holder.stdout.readline() == b"held\n"
    return holder


def test_a_second_process_is_refused_until_the_first_is_killed(tmp_path: Path) -> None:
    with start_holder(tmp_path) as holder:
        with pytest.raises(StartupError, match="another process") as raised, lock(tmp_path):
            pytest.fail("both hold the lock")
        assert (raised.value.code, raised.value.exit_code) == ("models_dir_locked", 3)
        holder.kill()
        holder.wait()
        with lock(tmp_path):
            assert list(tmp_path.iterdir()) == []


def test_the_lock_is_free_again_after_the_block(tmp_path: Path) -> None:
    for _ in range(2):
        with lock(tmp_path) as is_writable:
            assert is_writable


def test_a_missing_directory_is_made(tmp_path: Path) -> None:
    with lock(tmp_path / "some" / "models"):
        assert (tmp_path / "some" / "models").is_dir()


def test_a_file_in_the_way_is_said(tmp_path: Path) -> None:
    (tmp_path / "models").touch()
    with (
        pytest.raises(StartupError, match="SLIMVEC_MODELS_DIR") as raised,
        lock(tmp_path / "models"),
    ):
        pytest.fail("a file was locked")
    assert raised.value.exit_code == 3
