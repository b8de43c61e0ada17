from __future__ import annotations

import json
import logging
import os
import re
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from app.errors import ArtifactInvalid, NotFound
from app.storage import Repository
from app.storage.system import System
from app.types import JournalRow, Position
from tests.unit.storage.examples import (
    BEFORE_ALL,
    ENVIRONMENT,
    Failing,
    opened,
    read_back,
    rows,
    version_files,
    written,
)

SIDES = ("", "-wal", "-shm")


def read_until_damage(root: Path) -> tuple[list[JournalRow], str]:
    """The rows before the damage, and what was said of it."""
    found: list[JournalRow] = []
    journal = Repository(root).journal_rows("news", BEFORE_ALL)
    with pytest.raises(ArtifactInvalid) as raised:
        found.extend(stored.row for stored in journal)  # keeps those before the error
    assert raised.value.code == "journal_invalid"
    assert "slimvec repair news --recover=last-good" in raised.value.detail
    return found, raised.value.detail


def move(folder: Path, old: str, new: str) -> None:
    for side in SIDES:
        (folder / f"{old}{side}").rename(folder / f"{new}{side}")


def remove(folder: Path, *names: str) -> None:
    for name in names:
        for side in SIDES:
            (folder / f"{name}{side}").unlink()


def fill(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def swap(folder: Path, one: str, other: str) -> None:
    move(folder, one, "aside")
    move(folder, other, one)
    move(folder, "aside", other)


def change(path: Path, statement: str) -> None:
    """What a person with the sqlite3 program could do."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement)
        connection.commit()


# A journal of the rows 1-3, 4-6 and 7-9; what is done to it; the rows that are left; the reason.
FIRST, SECOND, THIRD = "journal-1.sqlite3", "journal-4.sqlite3", "journal-7.sqlite3"
DAMAGES: dict[str, tuple[Callable[[Path], None], int, str]] = {
    "first file gone": (lambda f: remove(f, FIRST), 0, f"{SECOND} of 'news' is damaged"),
    "middle file gone": (lambda f: remove(f, SECOND), 3, f"{THIRD} of 'news' is damaged"),
    "last file gone": (lambda f: remove(f, THIRD), 6, "row 9 \\(version 10\\) was acknowledged"),
    "all files gone": (
        lambda f: remove(f, FIRST, SECOND, THIRD),
        0,
        "row 9 \\(version 10\\) was acknowledged, and the rows end at 0",
    ),
    "last wal gone": (lambda f: (f / f"{THIRD}-wal").unlink(), 6, f"{THIRD}.*row 9"),
    "first wal gone": (lambda f: (f / f"{FIRST}-wal").unlink(), 0, f"{SECOND}.*ends at row 0"),
    "last database gone": (lambda f: (f / THIRD).unlink(), 6, "row 9"),
    "two swapped": (lambda f: swap(f, FIRST, SECOND), 0, "it begins at version"),
    "a row changed": (
        lambda f: change(f / SECOND, "UPDATE change SET version = 7 WHERE seq = 5"),
        4,
        f"{SECOND} of 'news' is damaged after version 5: row 5",
    ),
    "a row removed": (
        lambda f: change(f / SECOND, "DELETE FROM change WHERE seq = 5"),
        4,
        "row 5 is missing",
    ),
    "the last row removed": (
        lambda f: change(f / THIRD, "DELETE FROM change WHERE seq = 9"),
        8,
        "after version 9: row 9 \\(version 10\\) was acknowledged",
    ),
    "a row of another type": (
        lambda f: change(f / FIRST, "UPDATE change SET payload = 'text' WHERE seq = 2"),
        1,
        "row 2",
    ),
    "another environment": (
        lambda f: change(f / SECOND, "UPDATE begin SET environment = '{}'"),
        3,
        "its first page",
    ),
    "a table gone": (lambda f: change(f / SECOND, "DROP TABLE change"), 3, "SQLite cannot"),
    "not a database": (
        lambda f: fill(f / SECOND, b"x" * 4096),
        3,
        "SQLite cannot",
    ),
    "an empty file": (lambda f: fill(f / SECOND, b""), 3, "after version 4: it is empty"),
}


@pytest.mark.parametrize(("damage", "num_left", "reason"), DAMAGES.values(), ids=DAMAGES)
def test_damage_is_named_after_the_rows_before_it(
    tmp_path: Path, damage: Callable[[Path], None], num_left: int, reason: str
) -> None:
    damage(written(tmp_path, 3, 3, 3))
    left, detail = read_until_damage(tmp_path)
    assert left == rows(1, num_left)
    assert re.search(reason, detail)


@pytest.mark.parametrize("with_mark", [True, False])
def test_a_journal_of_another_model_is_refused(tmp_path: Path, with_mark: bool) -> None:
    written(tmp_path, 3, model="other")
    written(tmp_path, 2)
    for path in (tmp_path / "other").iterdir():
        if with_mark or path.name != "journal.mark":
            shutil.copy(path, tmp_path / "news" / path.name)
    left, detail = read_until_damage(tmp_path)
    assert (left, "is the journal of 'other'" in detail) == ([], True)


def test_a_journal_of_an_earlier_life_of_the_model_is_refused(tmp_path: Path) -> None:
    shutil.move(written(tmp_path, 2, num_bytes=7), tmp_path / "earlier")
    written(tmp_path, 2, num_bytes=8)
    for side in SIDES:
        shutil.copy(tmp_path / "earlier" / f"{FIRST}{side}", tmp_path / "news" / f"{FIRST}{side}")
    assert "row 2 is not the one that was acknowledged" in read_until_damage(tmp_path)[1]


def test_a_checkpoint_of_another_journal_is_refused(tmp_path: Path) -> None:
    written(tmp_path, 3)
    with pytest.raises(ArtifactInvalid, match="row 3"):
        read_back(tmp_path, Position(2, 12345))


def test_damage_before_the_checkpoint_is_nobodys_business(tmp_path: Path) -> None:
    folder = written(tmp_path, 3, 3)
    stored = list(Repository(tmp_path).journal_rows("news", BEFORE_ALL))
    (folder / FIRST).write_bytes(b"")
    assert read_back(tmp_path, stored[2].position) == rows(4, 6)


def test_a_folder_without_a_mark_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    (written(tmp_path, 3) / "journal.mark").unlink()
    assert read_back(tmp_path) == rows(1, 3)


MISSING_MARKS: dict[str, tuple[Callable[[Path], object], bool]] = {
    "rows": (lambda f: None, True),
    "a shortened wal": (lambda f: os.truncate(f / f"{FIRST}-wal", 1000), True),
    "no wal": (lambda f: (f / f"{FIRST}-wal").unlink(), False),
    "no journal": (lambda f: remove(f, FIRST), False),
}


@pytest.mark.parametrize(("damage", "is_said"), MISSING_MARKS.values(), ids=MISSING_MARKS)
def test_a_mark_that_is_missing_beside_changes_is_a_warning_at_the_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture,
    damage: Callable[[Path], object], is_said: bool,
) -> None:  # fmt: skip
    folder = written(tmp_path, 3)
    (folder / "journal.mark").unlink()
    damage(folder)
    doubt = Repository(tmp_path).journal_doubt("news")
    opened(tmp_path).close()
    assert doubt.startswith("journal.mark of 'news' is missing") == is_said
    said = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert said == ([("WARNING", doubt)] if is_said else [])


def test_a_whole_journal_leaves_no_doubt(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    written(tmp_path, 3)
    opened(tmp_path).close()
    assert (Repository(tmp_path).journal_doubt("news"), caplog.records) == ("", [])


@pytest.mark.parametrize("content", [b"", b"x", b"x" * 32, b"x" * 99], ids=len)
def test_a_damaged_mark_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    (written(tmp_path, 3) / "journal.mark").write_bytes(content)
    assert read_back(tmp_path) == rows(1, 3)
    assert "journal.mark of 'news' is damaged" in caplog.text


def test_a_mark_from_before_a_power_cut_is_no_fault(tmp_path: Path) -> None:
    folder = written(tmp_path, 1)
    earlier = (folder / "journal.mark").read_bytes()
    written(tmp_path, 2)
    (folder / "journal.mark").write_bytes(earlier)
    assert read_back(tmp_path) == rows(1, 3)


def test_a_mark_is_written_after_every_group(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    for first in (1, 3, 5):
        journal.append(rows(first, first + 1))
        assert Repository(tmp_path).journal_end("news") == first + 1
    journal.close()


def test_a_mark_that_cannot_be_written_is_said_and_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Markless(System):
        @staticmethod
        def pwrite(*arguments: object) -> int:
            raise OSError(5, "as told")

    (tmp_path / "news").mkdir()
    journal = Repository(tmp_path, Markless()).open_journal("news", 1, BEFORE_ALL, ENVIRONMENT)
    journal.append(rows(1, 2))
    journal.close()
    assert "cannot write journal.mark of 'news'" in caplog.text
    assert read_back(tmp_path) == rows(1, 2)


def test_the_end_is_what_is_claimed_even_where_it_cannot_be_read(tmp_path: Path) -> None:
    folder = written(tmp_path, 3, 3)
    repository = Repository(tmp_path)
    assert (repository.journal_begin("news"), repository.journal_end("news")) == (BEFORE_ALL, 6)
    (folder / SECOND).write_bytes(b"damaged")
    assert repository.journal_end("news") == 6


def test_an_unfinished_transaction_is_cut_off_and_logged_at_the_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = written(tmp_path, 3)
    with (folder / f"{FIRST}-wal").open("ab") as wal:
        wal.write(b"x" * 1000)
    assert read_back(tmp_path) == rows(1, 3)
    with caplog.at_level(logging.INFO, "slimvec.storage"):
        opened(tmp_path).close()
    assert "journal-1.sqlite3-wal of 'news' ends in 1000 bytes" in caplog.text
    assert "nothing in them is marked as acknowledged" in caplog.text


def test_the_rows_of_a_killed_process_are_synced_before_they_are_served(tmp_path: Path) -> None:
    written(tmp_path, 2)
    stored = list(Repository(tmp_path).journal_rows("news", BEFORE_ALL))
    system = Failing(0, OSError())
    Repository(tmp_path, system).open_journal("news", 3, stored[-1].position, ENVIRONMENT).close()
    assert "fsync" in system.names


def test_a_journal_makes_no_model_and_goes_with_one(tmp_path: Path) -> None:
    written(tmp_path, 3)
    repository = Repository(tmp_path)
    assert repository.models() == []
    repository.write("news", 1, version_files(1))
    repository.delete("news")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(NotFound):
        repository.journal_rows("news", BEFORE_ALL)


def test_start_up_knows_the_files_of_a_journal(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = written(tmp_path, 3)
    (folder / "journal-1.sqlite3-journal").touch()
    (folder / ".partial-1").write_bytes(b"an unfinished file")
    with caplog.at_level(logging.WARNING, "slimvec.storage"):
        Repository(tmp_path).sweep()
    assert [record.args for record in caplog.records] == [
        ("journal-1.sqlite3-journal", "model 'news'", "not a version number")
    ]
    assert not (folder / ".partial-1").exists()


def test_a_json_environment_is_compared_by_value(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.append(rows(1, 1))
    end = journal.position
    journal.close()
    same = json.loads(json.dumps(dict(reversed(ENVIRONMENT.items()))))
    journal = Repository(tmp_path).open_journal("news", 2, end, same)
    journal.append(rows(2, 2))
    journal.close()
    assert len(list((tmp_path / "news").glob("journal-*.sqlite3"))) == 1
