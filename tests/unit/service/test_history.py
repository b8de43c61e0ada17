from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from app.errors import OutcomeUnknown, StorageFull
from app.service.history import History
from app.service.keys import KeyTable, Window
from app.types import Change, ControlAnswer, JournalRow, Key, Position, Serve

CHANGE = Change(
    request=Serve(version="live"),
    key=Key("h", "f"),
    answer=ControlAnswer(
        model="m", kind="serving", version=1, step=0, digest="d", serving="live", learning_rate=0.1
    ),
    version=1,
    learning_rates=(0.1,),
    state_digest="s",
)


class Kept:
    """A journal in memory that can be told to fail."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.rows: list[JournalRow] = []
        self.num_bytes = 0
        self._failure = failure

    @property
    def position(self) -> Position:
        return Position(len(self.rows), 0)

    def append(self, rows: Sequence[JournalRow]) -> None:
        if self._failure is not None:
            raise self._failure
        self.rows += rows

    def rotate(self, version: int) -> Position:
        return self.position

    def close(self) -> None:
        """Nothing to give back."""


def history(journal: Kept) -> History:
    live: Any = SimpleNamespace(name="m")  # a commit wants no more of it
    keys = KeyTable(Window(age_s=1.0, newest=10, most=10))
    return History(live, Position(0, 0), journal, keys, 5.0)


def test_a_committed_change_is_a_row_and_a_remembered_key() -> None:
    journal = Kept()
    made = history(journal)
    made.commit([CHANGE, CHANGE])
    assert [row.seq for row in journal.rows] == [1, 2]
    assert made.keys.find(Key("h", "f")) == journal.rows[1].answer
    assert made.position == Position(2, 0)


def test_a_full_disk_is_a_fault_until_a_commit_succeeds() -> None:
    journal = Kept(StorageFull("storage_full", "no room"))
    made = history(journal)
    with pytest.raises(StorageFull):
        made.commit([CHANGE])
    assert isinstance(made.fault, StorageFull)
    journal._failure = None
    made.commit([CHANGE])
    assert made.fault is None


def test_a_failure_of_ours_after_the_rows_may_be_durable_is_an_unknown_outcome(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_memory(*_: Any) -> None:
        raise MemoryError

    made = history(Kept())
    monkeypatch.setattr(KeyTable, "remember", no_memory)
    with pytest.raises(OutcomeUnknown):
        made.commit([CHANGE])
