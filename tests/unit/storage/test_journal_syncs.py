"""Only a power cut would show a missing sync of a journal, so the calls themselves are tested."""

from __future__ import annotations

from pathlib import Path

from app.storage import Repository
from app.storage.system import System
from tests.unit.storage.examples import BEFORE_ALL, ENVIRONMENT, calls_of, rows


def test_a_new_file_is_synced_and_its_name_too_before_it_takes_rows(tmp_path: Path) -> None:
    (tmp_path / "news").mkdir()

    def append(system: System) -> None:
        journal = Repository(tmp_path, system).open_journal("news", 1, BEFORE_ALL, ENVIRONMENT)
        journal.append(rows(1, 1))
        journal.close()

    new_file = ["open", "write", "fsync", "rename", "fsync"]
    assert calls_of(append)[-7:] == [*new_file, "open", "pwrite"]
