"""A journal to damage, the damages, and what must hold after each: statement 12."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.errors import ArtifactInvalid
from app.storage import Repository
from app.types import JournalRow, StoredRow
from tests.unit.storage.examples import BEFORE_ALL, ENVIRONMENT

PAGE = 65_536
FRAME = 24 + PAGE
MARK = "journal.mark"


@dataclass(frozen=True, slots=True)
class Victim:
    """A model whose journal is damaged and made whole again, and the rows that it was told of."""

    root: Path
    rows: list[JournalRow]
    model: str
    is_merged: bool

    @property
    def folder(self) -> Path:
        return self.root / self.model

    def files(self, *suffixes: str) -> list[Path]:
        """The files of the journal whose names end so; none of them is empty."""
        found = (path for path in self.folder.iterdir() if path.name.endswith(suffixes))
        return sorted(path for path in found if path.stat().st_size)

    def judge(self) -> bool:
        """Whether the damage was said; fails when it should have been and was not.

        What is read is a true prefix; rows that are missing are an error; nothing else escapes.
        """
        found: list[JournalRow] = []
        said: ArtifactInvalid | None = None
        try:
            found.extend(stored.row for stored in self._journal())
        except ArtifactInvalid as error:
            said = error
        assert found == self.rows[: len(found)], "other rows than were written"
        assert said or len(found) == len(self.rows), f"rows after {len(found)} are lost, silently"
        if said:
            assert said.code == "journal_invalid"
            assert "slimvec repair news --recover=last-good" in said.detail
        return said is not None

    def _journal(self) -> Iterator[StoredRow]:
        # The index of the WAL is made anew at every start, as after a restart of the machine.
        for index in self.folder.glob("*-shm"):
            index.unlink()
        return Repository(self.root).journal_rows(self.model, BEFORE_ALL)


def build(root: Path, *, is_merged: bool, model: str = "news", seed: int = 7) -> Victim:
    """A journal of three files and rows of many sizes, some of them one to a commit.

    Args:
        root: the models directory.
        is_merged: whether SQLite moved the rows from the WALs into the databases, as it does when
            a person opens them with another program. In a WAL, SQLite's checksums see damage
            before ours do; in a database, there are only ours.
        model: whose.
        seed: of sizes and contents.
    """
    choose = random.Random(seed)
    (root / model).mkdir(parents=True)
    journal = Repository(root).open_journal(model, 1, BEFORE_ALL, ENVIRONMENT)
    rows: list[JournalRow] = []
    for size in (1, 4, 1, 7, 2, 5, 1, 1, 2):
        group = [_row(len(rows) + number, choose) for number in range(1, size + 1)]
        journal.append(group)
        rows += group
        if len(rows) in (6, 15):
            journal.rotate(rows[-1].version)
    journal.close()
    if is_merged:
        _merge(root / model)
    return Victim(root, rows, model, is_merged)


def _row(seq: int, choose: random.Random) -> JournalRow:
    return JournalRow(
        seq=seq,
        version=seq + 1,
        kind="step",
        at="2026-11-22T18:00:00.000Z",
        clock_s=seq * 1.5,
        key_hash=choose.randbytes(32).hex(),
        fingerprint=choose.randbytes(32).hex(),
        payload=choose.randbytes(choose.choice((0, 100, 5_000, 12_000, 70_000, 150_000))),
        state_digest=choose.randbytes(32).hex(),
        answer=b'{"version": %d}' % (seq + 1),
    )


def _merge(folder: Path) -> None:
    for path in folder.glob("*.sqlite3"):
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


@contextmanager
def overwritten(path: Path, start: int, content: bytes) -> Iterator[None]:
    """Other bytes in the middle of a file, for the time of the body."""
    with path.open("r+b", buffering=0) as file:
        file.seek(start)
        before = file.read(len(content))
        file.seek(start)
        file.write(content[: len(before)])
        try:
            yield
        finally:
            file.seek(start)
            file.write(before)


@contextmanager
def flipped(path: Path, *bits: int) -> Iterator[None]:
    """Bits of a file the other way round, for the time of the body."""
    with path.open("r+b", buffering=0) as file:
        _flip(file.fileno(), bits)
        try:
            yield
        finally:
            _flip(file.fileno(), bits)


def _flip(file: int, bits: tuple[int, ...]) -> None:
    for bit in bits:
        (byte,) = os.pread(file, 1, bit // 8)
        os.pwrite(file, bytes([byte ^ 1 << bit % 8]), bit // 8)


@contextmanager
def truncated(path: Path, length: int) -> Iterator[None]:
    """A file cut short, for the time of the body."""
    tail = path.read_bytes()[length:]
    os.truncate(path, length)
    try:
        yield
    finally:
        with path.open("r+b") as file:  # which must still be there: reading deletes nothing
            file.seek(length)
            file.write(tail)


@contextmanager
def kept_aside(folder: Path) -> Iterator[None]:
    """Anything may happen to a folder in the body."""
    aside = folder.with_name("aside")
    shutil.copytree(folder, aside)
    try:
        yield
    finally:
        shutil.rmtree(folder)
        aside.rename(folder)
