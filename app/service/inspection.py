"""Inspection: the journal for people, and a check of everything that a model has on disk.

Reads only, and beside a running server too: nothing here takes the lock or writes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf
from operator import attrgetter
from pathlib import Path
from typing import Any

import orjson

from app.errors import ArtifactInvalid, NotFound, SlimvecError, Unavailable
from app.names import check_model_name
from app.service.keys import KeyTable, Window
from app.service.rows import from_row
from app.service.version_files import from_files, moment_of
from app.storage.repository import Repository
from app.types import (
    ChangeRequest,
    Configure,
    Fit,
    JournalRow,
    Kind,
    Position,
    Rollback,
    Serve,
    Store,
)

_KEY_DIGITS = 12
_SEQ = attrgetter("seq")
_HARMLESS = "; a newer checkpoint is whole, so a start does not need it: nothing is lost now"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One accepted change, for people.

    Attributes:
        version: the model's version with this change.
        at: when (UTC).
        loss, rows: of a step; the rows of a fit too.
        key: the first digits of the Idempotency-Key's hash; empty without one.
        what: of the other kinds: which version, which learning rates, which method.
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


@dataclass(slots=True)
class Verdict:
    """What a check of a model found.

    Attributes:
        versions: checked, on disk.
        rows: of the journal that are as they were written.
        findings: what is wrong, where, and what to do; none when all is whole.
    """

    versions: int = 0
    rows: int = 0
    findings: list[str] = field(default_factory=list)


def store_at(models_dir: Path) -> Store:
    """The model repository of that directory."""
    return Repository(models_dir)


def changes(store: Store, model: str) -> Iterator[Entry]:
    """Every change that the journal still has, oldest first, each verified.

    Raises:
        NotFound: no such model.
        ArtifactInvalid: the journal is damaged, after the changes before the damage.
    """
    _check_model(store, model)
    for stored in store.journal_rows(model, store.journal_begin(model)):
        yield _entry(stored.row)


def verify(store: Store, model: str) -> Verdict:
    """Check every version folder and every row of the journal, also behind a first fault.

    Digests, checksums, the chain from row to row and to the checkpoints, and whether all of it can
    be understood. Not whether a replay gives the same bits: every start does that.

    Raises:
        NotFound: no such model.
    """
    _check_model(store, model)
    verdict = Verdict()
    positions = _check_versions(store, model, verdict)
    _check_journal(store, model, positions, verdict)
    return verdict


def _check_model(store: Store, model: str) -> None:
    if check_model_name(model) not in store.models():
        raise NotFound("model_not_found", f"there is no model {model!r} in this directory")


def _entry(row: JournalRow) -> Entry:
    request, answer = _decoded(row)
    rows = len(_flat(request)) if isinstance(request, Fit) else answer.get("rows")
    return Entry(
        seq=row.seq,
        version=row.version,
        at=row.at,
        kind=row.kind,
        step=answer["step"],
        loss=answer.get("loss"),
        rows=rows,
        key=row.key_hash[:_KEY_DIGITS],
        what=_what(request, answer),
        state_digest=row.state_digest,
        num_bytes=len(row.payload),
    )


def _flat(request: Fit) -> Any:
    return request.hidden_states.reshape(-1, request.hidden_states.shape[-1])


def _what(request: ChangeRequest, answer: dict[str, Any]) -> str:
    match request:
        case Rollback(to=to):
            return f"to version {to}"
        case Serve(version=version):
            return f"version {version}" if version != "live" else "live"
        case Configure():
            return f"learning rate {answer['learning_rate']}"
        case Fit(method=method):
            return method
    return ""


def _decoded(row: JournalRow) -> tuple[ChangeRequest, dict[str, Any]]:
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


def _check_versions(store: Store, model: str, verdict: Verdict) -> list[Position]:
    """Check every version folder; returns the places in the journal that they name."""
    positions, versions = [], store.versions(model)
    damaged: list[tuple[int, str]] = []
    for version in versions:
        try:
            positions.append(_check_version(store, model, version))
        except ArtifactInvalid as fault:
            damaged.append((version, fault.detail))
        except NotFound:
            continue  # retention took it meanwhile
        verdict.versions += 1
    newest = max(set(versions) - {version for version, _ in damaged}, default=0)
    for version, detail in damaged:
        verdict.findings.append(
            f"{_located(model, version, detail)}; {_cure(model, version, newest)}"
        )
    return positions


def _check_version(store: Store, model: str, version: int) -> Position:
    files = store.read(model, version)
    from_files(version, files)
    KeyTable(Window(age_s=inf, newest=0, most=1)).load(files.keys or b"")
    return moment_of(files.state).position


def _located(model: str, version: int, detail: str) -> str:
    where = f"version {version} of '{model}'"
    return detail if detail.startswith(where) else f"{where}: {detail}"


def _cure(model: str, version: int, newest: int) -> str:
    if not newest:
        return "no version can be read: restore one from a backup, or DELETE the model"
    if version < newest:
        return "newer ones are whole, so nothing is lost but this one: remove its folder"
    return f"use: slimvec repair {model} --recover=last-good"


def _check_journal(store: Store, model: str, positions: list[Position], verdict: Verdict) -> None:
    """Check every row; behind a fault go on at the next place that a checkpoint vouches for."""
    begin = _begin(store, model, verdict)
    resume = sorted({p for p in positions if p.seq > begin.seq} | {begin}, key=_SEQ)
    chains = {position.seq: position.chain for position in positions}
    newest = max(chains, default=0)
    while resume:
        reached = resume[0]
        try:
            for stored in store.journal_rows(model, reached):
                reached = stored.position
                _check_chain(model, reached, chains)
                _decoded(stored.row)
                verdict.rows += 1
            return
        except (ArtifactInvalid, Unavailable) as fault:
            begin = _begin(store, model, verdict)
            if begin.seq <= reached.seq:  # else retention took the file meanwhile
                _add(verdict, fault, _HARMLESS if reached.seq < newest else "")
        later = {position for position in (begin, *resume) if position.seq > reached.seq}
        resume = sorted(later, key=_SEQ)


def _begin(store: Store, model: str, verdict: Verdict) -> Position:
    try:
        return store.journal_begin(model)
    except (ArtifactInvalid, Unavailable) as fault:
        _add(verdict, fault)
        return Position(0, 0)


def _check_chain(model: str, reached: Position, chains: dict[int, int]) -> None:
    if chains.get(reached.seq, reached.chain) != reached.chain:
        raise ArtifactInvalid(
            f"row {reached.seq} of the journal of '{model}' is not the one that a checkpoint of "
            f"'{model}' follows; use: slimvec repair {model} --recover=last-good",
            code="journal_invalid",
        )


def _add(verdict: Verdict, fault: SlimvecError, note: str = "") -> None:
    if all(fault.detail not in finding for finding in verdict.findings):
        verdict.findings.append(fault.detail + note)
