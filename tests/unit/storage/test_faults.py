from __future__ import annotations

import errno
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from app.errors import ArtifactInvalid, NotFound, SlimvecError, StorageFull, Unavailable
from app.storage import Repository, lock
from app.storage.system import System
from app.types import Retention
from tests.unit.storage.examples import (
    Failing,
    Killed,
    calls_of,
    contents,
    killed_or_done,
    newest,
    version_files,
)

Act = Callable[[Path, System], None]
TWO = Retention(checkpoints=2, num_bytes=1 << 40, age_s=1e9)


def write_new_model(root: Path, system: System) -> None:
    Repository(root, system).write("fresh", 1, version_files(1))


def write_version(root: Path, system: System) -> None:
    Repository(root, system).write("news", 4, version_files(4))


def delete(root: Path, system: System) -> None:
    Repository(root, system).delete("news")


def retain(root: Path, system: System) -> None:
    Repository(root, system).retain("news", TWO)


def write_upstream(root: Path, system: System) -> None:
    Repository(root, system).write_upstream("news", b"new")


ACTS: dict[str, Act] = {
    act.__name__: act for act in (write_new_model, write_version, delete, retain, write_upstream)
}


def prepare(root: Path) -> Path:
    root.mkdir()
    for number in (1, 2, 3):
        Repository(root).write("news", number, version_files(number))
    return root


def visible(root: Path) -> dict[str, list[int]]:
    """The versions that a reader sees; each must be whole."""
    repository = Repository(root)
    seen = {model: repository.versions(model) for model in repository.models()}
    for model, versions in seen.items():
        for number in versions:
            assert contents(repository.read(model, number)) == contents(version_files(number))
    return seen


def before_and_after(tmp_path: Path, act: Act) -> list[dict[str, list[int]]]:
    root = prepare(tmp_path / "undisturbed")
    before = visible(root)
    act(root, System())
    return [before, visible(root)]


def names_below(root: Path) -> list[str]:
    return [name for _, folders, files in os.walk(root) for name in (*folders, *files)]


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
def test_killed_at_any_call_readers_see_the_old_or_the_new(tmp_path: Path, act: Act) -> None:
    allowed = before_and_after(tmp_path, act)
    # Copied for each call: writing it again would take dozens of syncs.
    prepared = prepare(tmp_path / "prepared")
    calls = calls_of(lambda system: act(shutil.copytree(prepared, tmp_path / "counted"), system))
    for at in range(1, len(calls) + 1):
        root = shutil.copytree(prepared, tmp_path / str(at))
        with killed_or_done():
            act(root, Failing(at, Killed()))
        # Retention removes several versions, one after another.
        assert visible(root) in [*allowed, {"news": [2, 3]}]
        Repository(root).sweep()
        assert not [name for name in names_below(root) if name.startswith(".")]
    assert len(calls) > 5


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.ENOSPC, (StorageFull, "storage_full")),
        (errno.EDQUOT, (StorageFull, "storage_full")),
        (errno.EROFS, (Unavailable, "read_only")),
        (errno.EACCES, (Unavailable, "read_only")),
        (errno.EIO, (Unavailable, "storage_failed")),
        (errno.EMFILE, (Unavailable, "storage_failed")),
    ],
    ids=lambda value: errno.errorcode[value] if isinstance(value, int) else "",
)
@pytest.mark.parametrize("act", [write_new_model, write_version], ids=lambda act: act.__name__)
def test_a_write_that_fails_at_any_call_leaves_nothing_and_says_which_kind(
    tmp_path: Path, act: Act, number: int, expected: tuple[type[SlimvecError], str]
) -> None:
    calls = calls_of(lambda system: act(prepare(tmp_path / "counted"), system))
    root = prepare(tmp_path / "models")
    before = sorted(names_below(root))
    for at in range(1, len(calls) + 1):
        with pytest.raises(SlimvecError) as raised:
            act(root, Failing(at, OSError(number, "as told")))
        if not isinstance(raised.value, NotFound):  # opening the folder itself was refused
            assert (type(raised.value), raised.value.code) == expected
        assert sorted(names_below(root)) == before
    act(root, System())


@pytest.mark.parametrize("fault", [Killed(), OSError(errno.ENOSPC, "as told")], ids=repr)
def test_a_note_of_the_upstream_is_the_old_or_the_new_at_any_call(
    tmp_path: Path, fault: BaseException
) -> None:
    calls = calls_of(lambda system: write_upstream(prepare(tmp_path / "counted"), system))
    root = prepare(tmp_path / "models")
    for at in range(1, len(calls) + 1):
        Repository(root).write_upstream("news", b"old")
        with killed_or_done(), suppress(SlimvecError):
            write_upstream(root, Failing(at, fault))
        if isinstance(fault, Killed):
            Repository(root).sweep()
        is_renamed = at > calls.index("rename") + 1
        assert Repository(root).read_upstream("news") == (b"new" if is_renamed else b"old")
        assert not [name for name in names_below(root) if name.startswith(".")]
    assert calls[-3:] == ["fsync", "rename", "fsync"]


def test_a_version_is_synced_before_it_is_renamed_and_its_name_after(tmp_path: Path) -> None:
    # Only a power cut would show a missing sync, so the order itself is what is tested.
    calls = calls_of(lambda system: write_new_model(tmp_path, system))
    make_model = ["open", "mkdir", "fsync", "open"]
    five_files = ["open", "write", "fsync"] * 5
    assert calls == [*make_model, "mkdir", "open", *five_files, "fsync", "rename", "fsync"]


def test_a_removal_is_durable_before_its_files_go(tmp_path: Path) -> None:
    root = prepare(tmp_path / "models")
    assert calls_of(lambda system: delete(root, system))[-3:] == ["rename", "fsync", "rmtree"]


def test_a_disk_that_takes_a_few_bytes_at_a_time_gets_them_all(tmp_path: Path) -> None:
    class Slow(System):
        @staticmethod
        def write(file: int, content: Any) -> int:
            return os.write(file, content[:7])

    Repository(tmp_path, Slow()).write("news", 1, version_files(1))
    assert visible(tmp_path) == {"news": [1]}


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENOMEM])
def test_a_fault_of_the_process_is_never_called_a_fault_of_the_version(
    tmp_path: Path, number: int
) -> None:
    root = prepare(tmp_path / "models")
    calls = calls_of(lambda system: Repository(root, system).read("news", 3))
    for at in range(1, len(calls) + 1):
        with pytest.raises(Unavailable):
            Repository(root, Failing(at, OSError(number, "as told"))).read("news", 3)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "trainer.safetensors"])
def test_a_file_that_the_disk_cannot_read_is_a_fault_of_its_version(
    tmp_path: Path, name: str
) -> None:
    class Unreadable(System):
        @staticmethod
        def open(path: Any, *arguments: Any, **keywords: Any) -> int:
            if path == name:
                raise PermissionError(errno.EACCES, "mode 000")
            return os.open(path, *arguments, **keywords)

    root = prepare(tmp_path / "models")
    with pytest.raises(ArtifactInvalid, match=f"{name} cannot be read: permission denied"):
        Repository(root, Unreadable()).read("news", 3)


@pytest.mark.parametrize(
    "name",
    ["config.json", "model.safetensors", "trainer.safetensors", "keys.jsonl", "state.json"],
)
def test_every_damaged_byte_is_seen_and_the_version_before_serves(
    tmp_path: Path, name: str
) -> None:
    root = prepare(tmp_path / "models")
    damaged = root / "news" / "3" / name
    whole = damaged.read_bytes()
    for at in range(len(whole)):
        damaged.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
        number, files = newest(Repository(root), "news")
        # White space between the words of state.json carries nothing.
        same = (3, contents(version_files(3))) if whole[at] in b" \n" else None
        assert (number, contents(files)) in [(2, contents(version_files(2))), same]


@pytest.mark.parametrize(
    "name",
    ["config.json", "model.safetensors", "trainer.safetensors", "keys.jsonl", "state.json"],
)
def test_every_truncation_is_seen(tmp_path: Path, name: str) -> None:
    root = prepare(tmp_path / "models")
    damaged = root / "news" / "3" / name
    whole = damaged.read_bytes().rstrip()
    for length in range(len(whole)):
        damaged.write_bytes(whole[:length])
        assert newest(Repository(root), "news")[0] == 2


WRITER = """
import sys
from pathlib import Path
from app.storage import Repository, lock
from app.types import Retention
from tests.unit.storage.examples import version_files

root = Path(sys.argv[1])
with lock(root):
    repository = Repository(root)
    repository.sweep()
    versions = repository.versions("news")
    number = versions[-1] if versions else 0
    while True:
        number += 1
        repository.write("news", number, version_files(number))
        print(number, flush=True)
        repository.retain("news", Retention(checkpoints=3, num_bytes=1 << 40, age_s=1e9))
"""


def test_after_kill_9_at_any_moment_the_newest_acknowledged_version_is_there(
    tmp_path: Path,
) -> None:
    moments = random.Random(5)
    for _ in range(6):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE
        )
        assert writer.stdout
        acknowledged = [int(writer.stdout.readline()) for _ in range(moments.randint(1, 30))]
        writer.kill()
        with writer:
            acknowledged += [int(line) for line in writer.stdout if line.endswith(b"\n")]
        number, files = newest(Repository(tmp_path), "news")
        assert number in (acknowledged[-1], acknowledged[-1] + 1)
        assert contents(files) == contents(version_files(number))


def test_a_full_disk_refuses_the_version_and_takes_it_when_space_returns(small_disk: Path) -> None:
    repository = Repository(small_disk)
    for number in (1, 2, 3):
        repository.write("news", number, version_files(number))
    space = os.statvfs(small_disk)
    (small_disk / "ballast").write_bytes(b"x" * (space.f_bavail - 1) * space.f_frsize)
    with pytest.raises(StorageFull):
        repository.write("news", 4, version_files(4))
    assert visible(small_disk) == {"news": [1, 2, 3]}
    assert repository.retain("news", TWO) == [1]
    (small_disk / "ballast").unlink()
    repository.write("news", 4, version_files(4))
    assert visible(small_disk) == {"news": [2, 3, 4]}


def test_a_read_only_disk_is_named_and_still_read(small_disk: Path) -> None:
    repository = Repository(small_disk)
    repository.write("news", 1, version_files(1))
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(Unavailable, match="read-only"):
        repository.write("news", 2, version_files(2))
    with pytest.raises(Unavailable, match="read-only"):
        repository.delete("news")
    with lock(small_disk) as is_writable:
        assert not is_writable
    assert visible(small_disk) == {"news": [1]}
