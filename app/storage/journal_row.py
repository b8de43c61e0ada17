"""What a journal file holds, and the checksum over it.

Note [Checksum and chain]
    Every row carries `crc`, the CRC-32 over all its fields, and among them `chain`, the crc of the
    row before it, also of the row that ends the file before. It begins with the crc of the file's
    head, which is unlike any other's: SQLite takes the WAL of another file for its own, we do not.
    So a changed, missing, doubled or foreign row is seen, at the row where it happens.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import cast
from uuid import uuid4
from zlib import crc32

from app.types import JournalRow, Json, Position

FORMAT = 1

# Column, its form in SQLite, its type here.
_FIELDS: tuple[tuple[str, str, type], ...] = (
    ("seq", "INTEGER PRIMARY KEY", int),
    ("version", "INTEGER NOT NULL", int),
    ("kind", "TEXT NOT NULL", str),
    ("at", "TEXT NOT NULL", str),
    ("clock_s", "REAL NOT NULL", float),
    ("key_hash", "TEXT NOT NULL", str),
    ("fingerprint", "TEXT NOT NULL", str),
    ("payload", "BLOB NOT NULL", bytes),
    ("state_digest", "TEXT NOT NULL", str),
    ("answer", "BLOB NOT NULL", bytes),
)
_SEALS = ("chain", "crc")
_NAMES = [name for name, _, _ in _FIELDS]
_TYPES = [type_ for _, _, type_ in _FIELDS] + [int] * len(_SEALS)
_values = attrgetter(*_NAMES)

COLUMNS = ", ".join((*_NAMES, *_SEALS))
INSERT = f"INSERT INTO change ({COLUMNS}) VALUES ({', '.join('?' * len(_TYPES))})"
SCHEMA = f"""
CREATE TABLE begin (
    format INTEGER NOT NULL, model TEXT NOT NULL, version INTEGER NOT NULL,
    seq INTEGER NOT NULL, chain INTEGER NOT NULL, environment TEXT NOT NULL,
    identity TEXT NOT NULL, crc INTEGER NOT NULL
);
CREATE TABLE change (
    {", ".join(f"{name} {form}" for name, form, _ in _FIELDS)},
    {", ".join(f"{name} INTEGER NOT NULL" for name in _SEALS)}
);
"""


@dataclass(frozen=True, slots=True)
class Begin:
    """What stands at the head of a journal file.

    Attributes:
        model: whose changes these are.
        version: the model's version before the first of them.
        position: the place in the journal before the first of them.
        environment: what computed them.
        identity: random, so that no two files have the same head.
    """

    model: str
    version: int
    position: Position
    environment: Json
    identity: str = field(default_factory=lambda: uuid4().hex)

    def values(self) -> tuple[object, ...]:
        """The row of the table `begin`."""
        fields = (FORMAT, self.model, self.version, self.position.seq, self.position.chain)
        content = (*fields, _canonical(self.environment), self.identity)
        return (*content, checksum(content))

    @property
    def crc(self) -> int:
        """The checksum over it all."""
        return checksum(self.values()[:-1])

    @classmethod
    def from_values(cls, values: Sequence[object]) -> Begin | None:
        """What `values` were made from; None when they are damaged, or of a later format."""
        if [type(value) for value in values] != [int, str, int, int, int, str, str, int]:
            return None
        fields = cast(tuple[int, str, int, int, int, str, str, int], tuple(values))  # just seen
        number, model, version, seq, chain, environment, identity, crc = fields
        if checksum(values[:-1]) != crc or number != FORMAT:
            return None
        return cls(model, version, Position(seq, chain), json.loads(environment), identity)

    def is_same_environment(self, environment: Json) -> bool:
        """Whether the rows of this file were computed in that environment."""
        return _canonical(self.environment) == _canonical(environment)


def seal(
    rows: Sequence[JournalRow], after: Position, head: int
) -> tuple[list[tuple[object, ...]], Position]:
    """The rows of a file's table `change` that follow a position, and the position behind them.

    Args:
        rows: numbered from the position on.
        after: the position before the first.
        head: the checksum of the file's head.
    """
    sealed = []
    for row in rows:
        assert row.seq == after.seq + 1, "rows are numbered without a gap"
        # As SQLite will give them back: a whole number in a REAL column, for one, is a float.
        fields = (type_(value) for type_, value in zip(_TYPES, _values(row), strict=False))
        content = (*fields, after.chain)
        after = Position(row.seq, checksum((head, *content)))
        sealed.append((*content, after.chain))
    return sealed, after


def unseal(
    values: Sequence[object], after: Position, head: int
) -> tuple[JournalRow, Position] | None:
    """The row that follows a position, and its own; None when it is not that, or damaged.

    Args:
        values: of the table `change`.
        after: the position before it.
        head: the checksum of the file's head.
    """
    if [type(value) for value in values] != _TYPES:
        return None
    *content, chain, crc = values
    if content[0] != after.seq + 1 or chain != after.chain or checksum((head, *values[:-1])) != crc:
        return None
    fields = dict(zip(_NAMES, content, strict=True))
    row = JournalRow(**fields)  # type: ignore[arg-type] # `_TYPES` are those of its fields
    return row, Position(row.seq, crc)  # by `_TYPES`


def checksum(values: Iterable[object]) -> int:
    """CRC-32 over values, each with its length before it."""
    crc = 0
    for value in values:
        content = _content(value)
        crc = crc32(content, crc32(len(content).to_bytes(8, "little"), crc))
    return crc


def _canonical(document: Json) -> str:
    return json.dumps(document, sort_keys=True)


def _content(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, float):
        return struct.pack("<d", value)
    assert isinstance(value, int), "a column is bytes, text or a number"
    return value.to_bytes(8, "little", signed=True)
