"""Inspection: the journal for people.

Reads only, and beside a running server too: nothing here takes the lock or writes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from app.errors import ArtifactInvalid, NotFound
from app.names import check_model_name
from app.service.rows import from_row
from app.storage.repository import Repository
from app.types import (
    ChangeRequest,
    Configure,
    Fit,
    JournalRow,
    Judge,
    Kind,
    Rollback,
    Serve,
    Store,
)

_KEY_DIGITS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One accepted change, for people.

    Attributes:
        version: the model's version with this change.
        at: when (UTC).
        loss, rows: of a step; the rows of a fit too.
        key: the first digits of the Idempotency-Key's hash; empty without one.
        what: of the other kinds: which version, which learning rates, which method, what the
            gate found.
    """

    seq: int
    version: int
    at: str
    kind: Kind
    step: int
    loss: float | None
    rows: int | None
    key: str
    what: str
    state_digest: str
    num_bytes: int


def store_at(models_dir: Path) -> Store:
    """The model repository of that directory."""
    return Repository(models_dir)


def changes(store: Store, model: str) -> Iterator[Entry]:
    """Every change that the journal still has, oldest first, each verified.

    Raises:
        NotFound: no such model.
        ArtifactInvalid: the journal is damaged, after the changes before the damage.
    """
    check_model(store, model)
    for stored in store.journal_rows(model, store.journal_begin(model)):
        yield _entry(stored.row)


def check_model(store: Store, model: str) -> None:
    """Refuse a model that is not there.

    Raises:
        NotFound: no such model.
    """
    if check_model_name(model) not in store.models():
        raise NotFound("model_not_found", f"there is no model {model!r} in this directory")


def _entry(row: JournalRow) -> Entry:
    request, answer = decoded(row)
    return Entry(
        seq=row.seq,
        version=row.version,
        at=row.at,
        kind=row.kind,
        step=answer["step"],
        loss=answer.get("loss"),
        rows=answer.get("rows"),
        key=row.key_hash[:_KEY_DIGITS],
        what=_what(request, answer),
        state_digest=row.state_digest,
        num_bytes=len(row.payload),
    )


def _what(request: ChangeRequest, answer: dict[str, Any]) -> str:
    match request:
        case Rollback(to=to):
            return f"to version {to}"
        case Serve(version=version):
            return f"version {version}" if version != "live" else "live"
        case Configure():
            return f"learning rate {answer['learning_rate']}"
        case Fit(method=method):
            return method.type
        case Judge():
            return _found(answer)
    return ""


def _found(answer: dict[str, Any]) -> str:
    """What a look of the gate found; older rows do not say it."""
    if "reason" not in answer:
        return f"version {answer['version']} judged"
    return f"{'' if answer['is_open'] else 'held back: '}{answer['reason']}"


def decoded(row: JournalRow) -> tuple[ChangeRequest, dict[str, Any]]:
    """What a row asks for, and what it was answered.

    Raises:
        ArtifactInvalid: `journal_invalid`: the bytes are whole, and nobody understands them.
    """
    request = from_row(row)
    try:
        answer = orjson.loads(row.answer)
        if (answer["version"], type(answer["step"])) == (row.version, int):
            return request, answer
    except (orjson.JSONDecodeError, KeyError, TypeError):
        pass
    raise ArtifactInvalid(
        f"the answer in the journal's row {row.seq} ({row.kind}, version {row.version}) cannot be "
        "understood",
        code="journal_invalid",
    )
