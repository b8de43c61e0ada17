"""The seam between the service and what is on disk: bytes and JSON only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from app.types.changes import Kind
from app.types.values import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionFiles:
    """The files of one version folder, as storage reads and writes them.

    `state` holds created, origin, step, metrics, the place in the journal and the other files'
    digests. `trainer` is absent in folders made by hand: learning then starts with a fresh
    optimizer. `keys` is absent where no Idempotency-Key is remembered.
    """

    config: bytes
    model: bytes
    trainer: bytes | None
    state: Json
    keys: bytes | None = None


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a model's journal: after the row `seq`, whose checksum is `chain`.

    Rows count from 1 and never restart; `Position(0, 0)` is before the first.
    """

    seq: int
    chain: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalRow:
    """One accepted change, as bytes and JSON values.

    Attributes:
        seq: one more than the row before.
        version: the model's version with this change.
        kind: what kind of change.
        at: when, for people (UTC, ISO 8601); nothing depends on it.
        clock_s: seconds that this model has been served in all; ages the keys.
        key_hash, fingerprint: of the Idempotency-Key; both empty without one.
        payload: the request: decoded tensors and options, as a safetensors file.
        state_digest: after this change; replay must reproduce it.
        answer: the bytes of the answer.
    """

    seq: int
    version: int
    kind: Kind
    at: str
    clock_s: float
    key_hash: str
    fingerprint: str
    payload: bytes
    state_digest: str
    answer: bytes


@dataclass(frozen=True, slots=True)
class StoredRow:
    """A row read back and verified, with the environment that computed it."""

    row: JournalRow
    position: Position
    environment: Json


class Journal(Protocol):
    """The journal of one live model, open for appending."""

    @property
    def position(self) -> Position: ...

    @property
    def num_bytes(self) -> int: ...

    def append(self, rows: Sequence[JournalRow]) -> None: ...

    def rotate(self, version: int) -> Position: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How many old versions stay askable: a version goes when any of the bounds asks for it.

    The two newest checkpoints that can be read always stay.

    Attributes:
        checkpoints: most checkpoints kept.
        num_bytes: most bytes of all version folders together.
        age_s: oldest checkpoint kept, in seconds.
    """

    checkpoints: int
    num_bytes: int
    age_s: float


class Store(Protocol):
    """The model repository on disk: bytes and JSON only."""

    def models(self) -> list[str]: ...

    def versions(self, model: str) -> list[int]: ...

    def read(self, model: str, version: int) -> VersionFiles: ...

    def describe(self, model: str, version: int) -> Json: ...

    def write(self, model: str, version: int, files: VersionFiles) -> None: ...

    def delete(self, model: str) -> None: ...

    def read_upstream(self, model: str) -> bytes | None: ...

    def write_upstream(self, model: str, content: bytes) -> None: ...

    def retain(
        self, model: str, retention: Retention, *, protected: frozenset[int] = frozenset()
    ) -> list[int]: ...

    def set_aside(self, model: str, *, versions: Sequence[int], journal: bool) -> list[str]: ...

    def open_journal(
        self, model: str, version: int, position: Position, environment: Json
    ) -> Journal: ...

    def journal_rows(self, model: str, after: Position) -> Iterator[StoredRow]: ...

    def journal_begin(self, model: str) -> Position: ...

    def journal_end(self, model: str) -> int: ...

    def journal_doubt(self, model: str) -> str: ...
