"""Versions and rows to store, and an operating system that fails when told to."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from app.errors import ArtifactInvalid
from app.storage import Repository
from app.storage.journal import FileJournal
from app.storage.system import System
from app.types import JournalRow, Position, VersionFiles

CALLS = ("open", "mkdir", "write", "pwrite", "fsync", "rename", "unlink", "rmdir", "rmtree")


BEFORE_ALL = Position(0, 0)
ENVIRONMENT = {"torch": "2.13.0", "threads": 1}


def version_files(number: int, *, origin: str = "checkpoint", **state: Any) -> VersionFiles:
    """Files whose every content names the version, so that a mixture would be seen."""
    return VersionFiles(
        config=b'{"version": %d}' % number,
        model=b"model %d " % number * 20,
        trainer=b"trainer %d " % number * 20,
        state={"origin": origin, "step": number, "metrics": {"loss": number / 7}, **state},
        keys=b'{"key": %d}\n' % number,
    )


def taken_at(number: int, position: Position) -> VersionFiles:
    """The files of a checkpoint behind a place in the journal."""
    return version_files(number, journal={"seq": position.seq, "chain": position.chain})


def rows(first: int, last: int, *, num_bytes: int = 100) -> list[JournalRow]:
    """Rows from one number to another, each a step; every content names the row."""
    return [
        JournalRow(
            seq=seq,
            version=seq + 1,
            kind="step",
            at="2026-11-22T18:00:00Z",
            clock_s=seq / 3,
            key_hash=f"key {seq}",
            fingerprint=f"fingerprint {seq}",
            payload=(b"row %d " % seq * (num_bytes // 5 + 1))[:num_bytes],
            state_digest=f"digest {seq}",
            answer=b'{"version": %d}' % (seq + 1),
        )
        for seq in range(first, last + 1)
    ]


def opened(root: Path, model: str = "news") -> FileJournal:
    """The journal of a model, to be continued where its rows end; the model is made if need be."""
    (root / model).mkdir(parents=True, exist_ok=True)
    repository = Repository(root)
    position, version = repository.journal_begin(model), 1
    for stored in repository.journal_rows(model, position):
        position, version = stored.position, stored.row.version
    return repository.open_journal(model, version, position, ENVIRONMENT)


def written(root: Path, *sizes: int, model: str = "news", num_bytes: int = 100) -> Path:
    """The folder of a model with a journal of several files, of so many rows each."""
    journal = opened(root, model)
    for size in sizes:
        seq = journal.position.seq
        journal.rotate(seq + 1)
        for row in rows(seq + 1, seq + size, num_bytes=num_bytes):
            journal.append([row])
    journal.close()
    return root / model


def read_back(root: Path, after: Position = BEFORE_ALL, model: str = "news") -> list[JournalRow]:
    """The rows after a position, all of them."""
    return [stored.row for stored in Repository(root).journal_rows(model, after)]


def contents(files: VersionFiles) -> tuple[bytes, bytes, bytes | None, int]:
    return files.config, files.model, files.trainer, files.state["step"]


class Killed(BaseException):
    """The process is gone: nothing that follows may run."""


class Failing(System):
    """The call number `at` fails with `failure`; after Killed, every later call does too.

    A write that fails has written half of its bytes before, as on a disk that becomes full.
    """

    def __init__(self, at: int, failure: BaseException) -> None:
        self.names: list[str] = []
        self._at = at
        self._failure = failure
        for name in CALLS:
            setattr(self, name, self._counted(name, getattr(System, name)))

    def _counted(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **keywords: Any) -> Any:
            self.names.append(name)
            number = len(self.names)
            late = number > self._at and isinstance(self._failure, Killed)
            if number == self._at and name == "write":
                os.write(arguments[0], arguments[1][: len(arguments[1]) // 2])
            if number == self._at or late:
                raise self._failure
            return call(*arguments, **keywords)

        return counted


def calls_of(act: Callable[[System], object]) -> list[str]:
    """The calls that an action makes when none fails, by name."""
    system = Failing(0, OSError())
    act(system)
    return system.names


@contextmanager
def killed_or_done() -> Iterator[None]:
    """Ends quietly when the body is killed."""
    try:
        yield
    except Killed:
        return


def newest(repository: Repository, model: str) -> tuple[int, VersionFiles]:
    """The newest version that can be read, as a recovery finds it."""
    for version in reversed(repository.versions(model)):
        with suppress(ArtifactInvalid):
            return version, repository.read(model, version)
    raise AssertionError("no version can be read")
