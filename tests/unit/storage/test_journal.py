from __future__ import annotations

import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.errors import ArtifactInvalid, OutcomeUnknown, SlimvecError, StorageFull, Unavailable
from app.storage import Repository
from app.storage.journal_row import Begin
from app.storage.journal_writer import JournalWriter, empty_journal
from app.types import Journal, Position
from tests.unit.storage.examples import (
    BEFORE_ALL,
    ENVIRONMENT,
    opened,
    read_back,
    rows,
    written,
)

Arm = Callable[[str], None]


def databases(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("journal-*.sqlite3"))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != "-shm"}


def test_rows_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    journal: Journal = opened(tmp_path)
    journal.append(rows(1, 3))
    journal.append(rows(4, 4))
    assert read_back(tmp_path) == rows(1, 4)
    journal.close()
    assert read_back(tmp_path) == rows(1, 4)


def test_after_closing_nothing_is_written(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.append(rows(1, 2))
    journal.close()
    for act in (lambda: journal.append(rows(3, 3)), lambda: journal.rotate(9)):
        with pytest.raises(Unavailable) as refusal:
            act()
        assert refusal.value.code == "draining"
    assert read_back(tmp_path) == rows(1, 2)


def test_another_thread_may_close_what_one_wrote(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    with ThreadPoolExecutor(1) as trainer:
        trainer.submit(journal.append, rows(1, 2)).result()
    journal.close()
    assert read_back(tmp_path) == rows(1, 2)


def test_a_row_may_be_empty_or_a_megabyte(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    odd = rows(1, 1, num_bytes=0) + rows(2, 2, num_bytes=1 << 20)
    journal.append(odd)
    journal.close()
    assert read_back(tmp_path) == odd


def test_a_model_that_is_never_trained_has_no_journal(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.append([])
    journal.rotate(7)
    journal.close()
    assert list((tmp_path / "news").iterdir()) == []
    assert (Repository(tmp_path).journal_end("news"), read_back(tmp_path)) == (0, [])


def test_a_position_is_that_of_the_last_row(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.append(rows(1, 5))
    stored = list(Repository(tmp_path).journal_rows("news", BEFORE_ALL))
    assert [row.position for row in stored][-1] == journal.position
    assert [row.position.seq for row in stored] == [1, 2, 3, 4, 5]
    journal.close()


def test_rows_after_a_position_are_those_that_follow_it(tmp_path: Path) -> None:
    written(tmp_path, 3, 3)
    stored = list(Repository(tmp_path).journal_rows("news", BEFORE_ALL))
    for number, row in enumerate(stored, start=1):
        assert read_back(tmp_path, row.position) == rows(number + 1, 6)


def test_each_rotation_begins_a_file_named_after_its_version(tmp_path: Path) -> None:
    folder = written(tmp_path, 2, 3, 1)
    assert databases(folder) == ["journal-1.sqlite3", "journal-3.sqlite3", "journal-6.sqlite3"]
    assert read_back(tmp_path) == rows(1, 6)


def test_rotation_to_the_present_version_changes_nothing(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.append(rows(1, 2))
    end, num_bytes = journal.position, journal.num_bytes
    assert (journal.rotate(1), journal.num_bytes) == (end, num_bytes)
    assert (journal.rotate(3), journal.num_bytes) == (end, 0)
    journal.close()


def test_num_bytes_are_those_on_the_disk(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.append(rows(1, 1, num_bytes=300_000))
    on_disk = [path for path in (tmp_path / "news").glob("journal-1.*") if "-shm" not in path.name]
    assert journal.num_bytes == sum(path.stat().st_size for path in on_disk) > 300_000
    journal.close()


def test_a_restart_continues_the_newest_file(tmp_path: Path) -> None:
    written(tmp_path, 2)
    journal = opened(tmp_path)
    journal.append(rows(3, 3))
    journal.close()
    assert databases(tmp_path / "news") == ["journal-1.sqlite3"]
    assert read_back(tmp_path) == rows(1, 3)


def test_another_environment_begins_another_file_and_rows_say_which(tmp_path: Path) -> None:
    written(tmp_path, 2)
    repository = Repository(tmp_path)
    position = list(repository.journal_rows("news", BEFORE_ALL))[-1].position
    journal = repository.open_journal("news", 3, position, {"torch": "3"})
    journal.append(rows(3, 3))
    journal.close()
    stored = repository.journal_rows("news", BEFORE_ALL)
    assert [row.environment for row in stored] == [ENVIRONMENT, ENVIRONMENT, {"torch": "3"}]


def test_two_files_of_one_version_are_told_apart(tmp_path: Path) -> None:
    # Rows like those of a promotion make no version, so the second file begins at version 1 too.
    written(tmp_path, 2)
    repository = Repository(tmp_path)
    for environment in ({"torch": "3"}, {"torch": "4"}):
        position = list(repository.journal_rows("news", BEFORE_ALL))[-1].position
        journal = repository.open_journal("news", 1, position, environment)
        journal.append(rows(position.seq + 1, position.seq + 1))
        journal.close()
    assert databases(tmp_path / "news") == [
        "journal-1-2.sqlite3", "journal-1-3.sqlite3", "journal-1.sqlite3"
    ]  # fmt: skip
    assert read_back(tmp_path) == rows(1, 4)


def test_a_file_that_got_no_row_is_replaced(tmp_path: Path, arm: Arm) -> None:
    arm("journal.before_insert=eio")
    journal = opened(tmp_path)
    with pytest.raises(Unavailable):
        journal.append(rows(1, 1))
    journal.close()
    journal = Repository(tmp_path).open_journal("news", 1, BEFORE_ALL, {"torch": "3"})
    journal.append(rows(1, 1))
    journal.close()
    assert databases(tmp_path / "news") == ["journal-1.sqlite3"]
    assert read_back(tmp_path) == rows(1, 1)


@pytest.mark.parametrize("position", [BEFORE_ALL, Position(1, 5), Position(2, 5)])
def test_a_journal_is_not_continued_before_its_end(tmp_path: Path, position: Position) -> None:
    folder = written(tmp_path, 2)
    for _ in ("with the mark", "without it"):
        with pytest.raises(ArtifactInvalid) as raised:
            Repository(tmp_path).open_journal("news", 1, position, ENVIRONMENT)
        assert raised.value.code == "journal_invalid"
        (folder / "journal.mark").unlink(missing_ok=True)
    assert read_back(tmp_path) == rows(1, 2)


def test_a_checkpoint_beyond_the_rows_begins_a_file_of_its_own(tmp_path: Path) -> None:
    folder = written(tmp_path, 2)
    (folder / "journal.mark").unlink()
    checkpoint = Position(9, 99)
    journal = Repository(tmp_path).open_journal("news", 10, checkpoint, ENVIRONMENT)
    journal.append(rows(10, 11))
    journal.close()
    assert read_back(tmp_path, checkpoint) == rows(10, 11)


ERRORS: dict[str, tuple[type[SlimvecError], str]] = {
    "journal.before_rotate=enospc": (StorageFull, "storage_full"),
    "journal.before_rotate=eio": (Unavailable, "storage_failed"),
    "journal.before_insert=enospc": (StorageFull, "storage_full"),
    "journal.before_insert=eio": (Unavailable, "storage_failed"),
    "journal.before_commit=enospc": (StorageFull, "storage_full"),
}


@pytest.mark.parametrize(("failpoint", "expected"), ERRORS.items(), ids=ERRORS)
def test_after_a_failure_before_the_commit_nothing_is_written_and_the_next_one_is(
    tmp_path: Path, arm: Arm, failpoint: str, expected: tuple[type[SlimvecError], str]
) -> None:
    arm(failpoint)
    journal = opened(tmp_path)
    with pytest.raises(SlimvecError) as raised:
        journal.append(rows(1, 2))
    assert (type(raised.value), raised.value.code) == expected
    assert (journal.position, read_back(tmp_path)) == (BEFORE_ALL, [])
    journal.append(rows(1, 1))
    journal.close()
    assert read_back(tmp_path) == rows(1, 1)


def test_after_a_failed_commit_nothing_is_written_ever_again(tmp_path: Path, arm: Arm) -> None:
    journal = opened(tmp_path)
    journal.append(rows(1, 1))
    arm("journal.before_commit=eio")
    with pytest.raises(OutcomeUnknown) as raised:
        journal.append(rows(2, 2))
    assert raised.value.code == "outcome_unknown"
    before = contents(tmp_path / "news")
    for act in (lambda: journal.append(rows(2, 2)), lambda: journal.rotate(5)):
        with pytest.raises(Unavailable) as refused:
            act()
        assert refused.value.code == "storage_failed"
    journal.close()
    assert contents(tmp_path / "news") == before


@pytest.mark.parametrize("num_rows", [0, 3])
def test_closing_writes_nothing(tmp_path: Path, num_rows: int) -> None:
    journal = opened(tmp_path)
    journal.append(rows(1, num_rows))
    before = contents(tmp_path / "news")
    journal.close()
    assert contents(tmp_path / "news") == before


def test_a_commit_is_a_full_sync_and_the_database_never_changes(tmp_path: Path) -> None:
    path = tmp_path / "journal-1.sqlite3"
    path.write_bytes(empty_journal(Begin("news", 1, BEFORE_ALL, ENVIRONMENT)))
    before = path.read_bytes()
    writer = JournalWriter(path)
    asked = ("synchronous", "wal_autocheckpoint", "page_size", "journal_mode", "cache_spill")
    answers = [writer._connection.execute(f"PRAGMA {name}").fetchone()[0] for name in asked]
    assert answers == [2, 0, 65_536, "wal", 0]
    writer.close()
    assert path.read_bytes() == before


def test_sqlite_itself_finds_nothing_wrong(tmp_path: Path) -> None:
    path = written(tmp_path, 40, num_bytes=20_000) / "journal-1.sqlite3"
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
    # Closing this one has moved the rows into the database; that is as good a journal.
    assert not path.with_name(path.name + "-wal").exists()
    assert read_back(tmp_path) == rows(1, 40, num_bytes=20_000)
