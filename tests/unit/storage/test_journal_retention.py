"""When journal files go, and what is set aside."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from app.storage import Repository
from app.types import Position, Retention
from tests.unit.storage.examples import (
    newest,
    opened,
    read_back,
    rows,
    taken_at,
    version_files,
    written,
)

FIRST, SECOND, THIRD = "journal-1.sqlite3", "journal-4.sqlite3", "journal-7.sqlite3"
TWO = Retention(checkpoints=2, num_bytes=1 << 40, age_s=1e9)


def test_files_before_the_older_of_the_two_newest_checkpoints_go(tmp_path: Path) -> None:
    assert list(journals_after_retention(tmp_path, [1, 4, 7, 10])) == [
        ({FIRST}, []),
        ({FIRST, SECOND}, []),
        ({SECOND, THIRD}, []),
        ({THIRD, "journal-10.sqlite3"}, [1]),
    ]


def journals_after_retention(
    root: Path, versions: list[int]
) -> Iterator[tuple[set[str], list[int]]]:
    """Writes a checkpoint and three rows in turn; what each retention leaves and removes."""
    repository, journal = Repository(root), opened(root)
    for number in versions:
        repository.write("news", number, taken_at(number, journal.rotate(number)))
        journal.append(rows(number, number + 2))
        removed = repository.retain("news", Retention(checkpoints=3, num_bytes=1 << 40, age_s=1e9))
        yield {path.name for path in (root / "news").glob("journal-*.sqlite3")}, removed
    journal.close()


def test_with_the_newest_checkpoint_damaged_nothing_is_lost(tmp_path: Path) -> None:
    list(journals_after_retention(tmp_path, [1, 4, 7, 10]))
    (tmp_path / "news" / "10" / "model.safetensors").write_bytes(b"damaged")
    version, files = newest(Repository(tmp_path), "news")
    after = Position(**files.state["journal"])
    assert (version, read_back(tmp_path, after)) == (7, rows(7, 12))


def test_a_damaged_checkpoint_does_not_count_for_the_journal(tmp_path: Path) -> None:
    list(journals_after_retention(tmp_path, [1, 4, 7]))
    (tmp_path / "news" / "7" / "model.safetensors").write_bytes(b"damaged")
    repository, journal = Repository(tmp_path), opened(tmp_path)
    repository.write("news", 10, taken_at(10, journal.rotate(10)))
    journal.close()
    assert repository.retain("news", TWO) == []
    (tmp_path / "news" / "10" / "model.safetensors").write_bytes(b"damaged")
    version, files = newest(repository, "news")
    assert (version, read_back(tmp_path, Position(**files.state["journal"]))) == (4, rows(4, 9))


def test_versions_without_a_place_in_the_journal_keep_all_of_it(tmp_path: Path) -> None:
    written(tmp_path, 3, 3)
    repository = Repository(tmp_path)
    for number in (1, 2, 7):
        repository.write("news", number, version_files(number))
    repository.retain("news", TWO)
    assert read_back(tmp_path) == rows(1, 6)


def test_what_a_killed_retention_left_of_a_file_goes_with_the_next(tmp_path: Path) -> None:
    list(journals_after_retention(tmp_path, [1, 4, 7]))
    orphan = tmp_path / "news" / f"{FIRST}-wal"
    orphan.write_bytes(b"its database is gone")
    Repository(tmp_path).retain("news", TWO)
    assert not orphan.exists()


def test_what_is_set_aside_is_moved_and_never_looked_at_again(tmp_path: Path) -> None:
    folder = written(tmp_path, 3)
    repository = Repository(tmp_path)
    for number in (1, 2):
        repository.write("news", number, version_files(number))
    before = sorted(path.name for path in folder.iterdir())
    moved = repository.set_aside("news", versions=[2, 5], journal=True)
    assert (sorted(moved), moved[-1]) == (before[1:], "journal.mark")
    repository.sweep()
    (aside,) = folder.glob(".damaged-*")
    assert sorted(path.name for path in aside.iterdir()) == before[1:]
    assert (repository.versions("news"), read_back(tmp_path)) == ([1], [])


def test_only_what_is_asked_for_is_set_aside(tmp_path: Path) -> None:
    written(tmp_path, 3)
    repository = Repository(tmp_path)
    repository.write("news", 1, version_files(1))
    assert repository.set_aside("news", versions=[], journal=False) == []
    assert repository.set_aside("news", versions=[1], journal=False) == ["1"]
    repository.write("news", 1, version_files(1))
    assert read_back(tmp_path) == rows(1, 3)
