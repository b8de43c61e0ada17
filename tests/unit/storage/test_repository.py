from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.errors import ArtifactInvalid, Conflict, NotFound, TooLarge, Unacceptable
from app.storage import Repository, version
from app.storage.system import System
from app.types import Retention, Store, VersionFiles
from tests.unit.storage.examples import contents, version_files

FILES = {"config.json", "model.safetensors", "trainer.safetensors", "keys.jsonl"}


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path)


def bounds(checkpoints: int, num_bytes: int = 1 << 40, age_s: float = 1e9) -> Retention:
    return Retention(checkpoints=checkpoints, num_bytes=num_bytes, age_s=age_s)


def by_hand(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_bytes(b"{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def fill(repository: Repository, origins: list[str]) -> None:
    for number, origin in enumerate(origins, start=1):
        repository.write("news", number, version_files(number, origin=origin))


def test_what_was_written_is_read_back(repository: Repository) -> None:
    store: Store = repository
    store.write("news", 7, version_files(7))
    files = store.read("news", 7)
    digests = files.state.pop("files")
    assert files == version_files(7)
    assert set(digests) == FILES


def test_state_keeps_every_kind_of_json_value(repository: Repository) -> None:
    state = {"origin": "initial", "step": 0, "digest": "ab", "none": None, "list": [1, 2.5, "é"]}
    files = VersionFiles(config=b"{}", model=b"m", trainer=None, state={**state, "rate": (1, 2)})
    repository.write("news", 1, files)
    read = repository.read("news", 1).state
    del read["files"]
    assert read == {**state, "rate": [1, 2]}


def test_versions_are_sorted_as_numbers_and_models_by_name(repository: Repository) -> None:
    for model, number in (("zebra", 1), ("news", 10), ("news", 9), ("news", 2)):
        repository.write(model, number, version_files(number))
    assert repository.models() == ["news", "zebra"]
    assert repository.versions("news") == [2, 9, 10]


def test_an_existing_version_is_never_changed(repository: Repository) -> None:
    repository.write("news", 1, version_files(1))
    with pytest.raises(Conflict, match="never changed"):
        repository.write("news", 1, version_files(2))
    assert contents(repository.read("news", 1)) == contents(version_files(1))


def test_a_folder_of_that_name_is_in_the_way_even_when_empty(tmp_path: Path) -> None:
    (tmp_path / "news" / "1").mkdir(parents=True)
    with pytest.raises(Conflict):
        Repository(tmp_path).write("news", 1, version_files(1))


def test_what_could_not_be_read_back_is_not_written(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(version.MAX_BYTES, "model.safetensors", 10)
    with pytest.raises(TooLarge):
        repository.write("news", 1, version_files(1))
    assert repository.models() == []


def test_a_folder_made_by_hand_is_read_without_a_state(tmp_path: Path) -> None:
    by_hand(tmp_path / "mine" / "3")
    expected = VersionFiles(config=b"{}", model=b"weights", trainer=None, state={})
    assert Repository(tmp_path).read("mine", 3) == expected


@pytest.mark.parametrize("number", [0, -1, 2, 10**18, 10**5000], ids=range(5))
def test_an_absent_version_is_not_found(repository: Repository, number: int) -> None:
    repository.write("news", 1, version_files(1))
    with pytest.raises(NotFound):
        repository.read("news", number)


@pytest.mark.parametrize("name", ["..", "a/b", "", "a\n", ".partial-1", "A", "a\0b"])
def test_a_name_that_is_not_a_model_name_reaches_no_path(repository: Repository, name: str) -> None:
    for act in (
        lambda: repository.read(name, 1),
        lambda: repository.describe(name, 1),
        lambda: repository.write(name, 1, version_files(1)),
        lambda: repository.delete(name),
        lambda: repository.retain(name, bounds(2)),
        lambda: repository.versions(name),
    ):
        with pytest.raises(Unacceptable, match="model name"):
            act()


def test_an_unknown_model_has_no_versions(repository: Repository) -> None:
    assert repository.versions("news") == []
    assert repository.retain("news", bounds(2)) == []
    with pytest.raises(NotFound):
        repository.describe("news", 1)
    with pytest.raises(NotFound):
        repository.delete("news")


def test_a_deleted_model_leaves_nothing(repository: Repository, tmp_path: Path) -> None:
    fill(repository, ["initial", "checkpoint"])
    repository.delete("news")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("origins", "keep", "removed"),
    [
        (["checkpoint"] * 5, 3, [1, 2]),
        (["checkpoint"] * 5, 0, [1, 2, 3]),
        (["checkpoint"] * 2, 1, []),
        (["initial", *["checkpoint"] * 3, "import"], 2, [2]),
        (["import", "initial", "import"], 2, []),
    ],
)
def test_retention_removes_the_oldest_checkpoints_and_nothing_else(
    repository: Repository, origins: list[str], keep: int, removed: list[int]
) -> None:
    fill(repository, origins)
    assert repository.retain("news", bounds(keep)) == removed
    rest = [n for n in range(1, len(origins) + 1) if n not in removed]
    assert repository.versions("news") == rest


def test_retention_leaves_folders_made_by_hand(repository: Repository, tmp_path: Path) -> None:
    by_hand(tmp_path / "news" / "1")
    for number in (2, 3, 4):
        repository.write("news", number, version_files(number))
    assert repository.retain("news", bounds(2)) == [2]
    assert repository.versions("news") == [1, 3, 4]


def test_retention_waits_until_two_newer_checkpoints_can_be_read(
    repository: Repository, tmp_path: Path
) -> None:
    fill(repository, ["checkpoint"] * 4)
    (tmp_path / "news" / "4" / "trainer.safetensors").write_bytes(b"damaged")
    assert repository.retain("news", bounds(2)) == []
    repository.write("news", 5, version_files(5))
    repository.write("news", 6, version_files(6))
    assert repository.retain("news", bounds(2)) == [1, 2, 3, 4]


def test_a_reader_never_sees_a_version_that_is_being_removed(
    repository: Repository, tmp_path: Path
) -> None:
    repository.write("news", 1, version_files(1))

    class DeletedMeanwhile(System):
        @staticmethod
        def open(path: Any, *arguments: Any, **keywords: Any) -> int:
            if path == "trainer.safetensors":
                repository.delete("news")
            return os.open(path, *arguments, **keywords)

    with pytest.raises(NotFound):
        Repository(tmp_path, DeletedMeanwhile()).read("news", 1)


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_link(path: Path) -> None:
    outside = path.parent.parent.parent / "outside"
    outside.write_bytes(b"weights")
    path.symlink_to(outside)


def make_huge(path: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 35)


ODD_FILES: dict[str, tuple[Callable[[Path], None], str]] = {
    "symlink": (make_link, "{} cannot be read: too many levels of symbolic links"),
    "fifo": (make_fifo, "{} is not a regular file"),
    "directory": (lambda path: path.mkdir(), "{} is not a regular file"),
    "empty": (lambda path: path.touch(), "expected a {} of 1 to"),
    "huge": (make_huge, "expected a {} of 1 to"),
}


@pytest.mark.parametrize(("make", "reason"), ODD_FILES.values(), ids=ODD_FILES)
@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "trainer.safetensors"])
def test_an_odd_file_makes_its_version_invalid_and_the_one_before_it_serves(
    tmp_path: Path,
    make: Callable[[Path], None],
    reason: str,
    name: str,
) -> None:
    by_hand(tmp_path / "mine" / "1")
    odd = by_hand(tmp_path / "mine" / "2") / name
    odd.unlink(missing_ok=True)
    make(odd)
    with pytest.raises(ArtifactInvalid) as refusal:
        Repository(tmp_path).read("mine", 2)
    assert f"version 2 of 'mine': {reason.format(name)}" in refusal.value.detail
    assert Repository(tmp_path).read("mine", 1).config


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_file_that_the_state_names_must_be_there(
    repository: Repository, tmp_path: Path, name: str
) -> None:
    repository.write("news", 1, version_files(1))
    (tmp_path / "news" / "1" / name).unlink()
    with pytest.raises(ArtifactInvalid, match=f"{name} is missing"):
        repository.read("news", 1)


@pytest.mark.parametrize(
    "state",
    [b"", b"{", b"[]", b"{}", b"[" * 100_000, b'{"files": {}}', b'{"files": {"state.json": 1}}'],
)
def test_a_state_that_does_not_vouch_for_the_files_is_refused(tmp_path: Path, state: bytes) -> None:
    (by_hand(tmp_path / "mine" / "1") / "state.json").write_bytes(state)
    with pytest.raises(ArtifactInvalid, match=r"state\.json"):
        Repository(tmp_path).read("mine", 1)


def test_a_trainer_file_that_the_state_does_not_name_is_refused(
    repository: Repository, tmp_path: Path
) -> None:
    files = VersionFiles(config=b"{}", model=b"m", trainer=None, state={})
    repository.write("news", 1, files)
    (tmp_path / "news" / "1" / "trainer.safetensors").write_bytes(b"another")
    with pytest.raises(ArtifactInvalid, match="trainer"):
        repository.read("news", 1)


def test_start_up_passes_over_what_is_no_model_and_says_why(
    repository: Repository, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    repository.write("news", 1, version_files(1))
    (tmp_path / "README.md").write_text("what this is")
    (tmp_path / "linked").symlink_to(tmp_path / "news")
    make_fifo(tmp_path / "pipe")
    (tmp_path / "Upper").mkdir()
    (tmp_path / "news" / "01").mkdir()
    (tmp_path / "news" / "5").symlink_to(tmp_path / "news" / "1")
    with caplog.at_level(logging.WARNING, "slimvec.storage"):
        repository.sweep()
    assert [record.args for record in caplog.records] == [
        ("Upper", "the models directory", "not a model name"),
        ("linked", "the models directory", "not a folder"),
        ("pipe", "the models directory", "not a folder"),
        ("01", "model 'news'", "not a version number"),
        ("5", "model 'news'", "not a folder"),
    ]
    assert (repository.models(), repository.versions("news")) == (["news"], [1])


def test_state_json_is_readable_by_people_and_names_every_digest(
    repository: Repository, tmp_path: Path
) -> None:
    repository.write("news", 1, version_files(1))
    document = json.loads((tmp_path / "news" / "1" / "state.json").read_bytes())
    assert document["origin"] == "checkpoint"
    assert all(len(digest) == 64 for digest in document["files"].values())
    assert set(document["files"]) == FILES | {"state.json"}


def test_the_upstream_is_kept_beside_the_versions_and_goes_with_the_model(
    repository: Repository, caplog: pytest.LogCaptureFixture
) -> None:
    repository.write("news", 1, version_files(1))
    assert repository.read_upstream("news") is None
    for content in (b"first", b"second"):
        repository.write_upstream("news", content)
        assert repository.read_upstream("news") == content
    repository.sweep()
    assert (repository.versions("news"), caplog.messages) == ([1], [])
    repository.delete("news")
    with pytest.raises(NotFound):
        repository.read_upstream("news")


def test_an_upstream_makes_no_model(repository: Repository, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        repository.write_upstream("news", b"content")
    assert list(tmp_path.iterdir()) == []
