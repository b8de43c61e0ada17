"""Verification: whether everything that a model has on disk is whole.

Reads only, and beside a running server too: nothing here takes the lock or writes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from operator import attrgetter

from app.errors import ArtifactInvalid, NotFound, SlimvecError, Unavailable
from app.service.inspection import check_model, decoded
from app.service.keys import KeyTable, Window
from app.service.version_files import from_files, moment_of
from app.types import Position, Store

_SEQ = attrgetter("seq")
_HARMLESS = "; a newer checkpoint is whole, so a start does not need it: nothing is lost now"


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


def verify(store: Store, model: str) -> Verdict:
    """Check every version folder and every row of the journal, also behind a first fault.

    Digests, checksums, the chain from row to row and to the checkpoints, and whether all of it can
    be understood. Not whether a replay gives the same bits: every start does that.

    Raises:
        NotFound: no such model.
    """
    check_model(store, model)
    verdict = Verdict()
    versions = _check_versions(store, model, verdict)
    reach = _check_journal(store, model, versions.positions, verdict)
    verdict.findings[:0] = _told(model, versions, reach)
    if doubt := store.journal_doubt(model):
        verdict.findings.append(doubt)
    return verdict


@dataclass(slots=True)
class _Versions:
    """The version folders of a model.

    Attributes:
        newest: of those that can be read; 0 without any.
        positions: the places in the journal that those name.
        damaged: the others, oldest first, each with its fault.
    """

    newest: int = 0
    positions: list[Position] = field(default_factory=list)
    damaged: dict[int, str] = field(default_factory=dict)


def _check_versions(store: Store, model: str, verdict: Verdict) -> _Versions:
    found = _Versions()
    for version in store.versions(model):
        try:
            found.positions.append(_check_version(store, model, version))
            found.newest = version
        except ArtifactInvalid as fault:
            found.damaged[version] = fault.detail
        except NotFound:
            continue  # retention took it meanwhile
        verdict.versions += 1
    return found


def _check_version(store: Store, model: str, version: int) -> Position:
    files = store.read(model, version)
    from_files(version, files)
    KeyTable(Window(age_s=inf, newest=0, most=1)).load(files.keys or b"")
    return moment_of(files.state).position


def _located(model: str, version: int, detail: str) -> str:
    where = f"version {version} of '{model}'"
    return detail if detail.startswith(where) else f"{where}: {detail}"


def _told(model: str, versions: _Versions, reach: int) -> list[str]:
    return [
        f"{_located(model, version, detail)}; {_cure(model, version, versions.newest, reach)}"
        for version, detail in versions.damaged.items()
    ]


def _cure(model: str, version: int, newest: int, reach: int) -> str:
    if not newest:
        return "no version can be read: restore one from a backup, or DELETE the model"
    if version < newest:
        return "newer ones are whole, so nothing is lost but this one: remove its folder"
    if version <= reach:
        return (
            f"version {newest} and the journal reach as far, so nothing is lost with it: "
            "a start sets it aside"
        )
    return f"use: slimvec repair {model} --recover=last-good"


def _check_journal(store: Store, model: str, positions: list[Position], verdict: Verdict) -> int:
    """Check every row; behind a fault go on at the next place that a checkpoint vouches for.

    Returns:
        The version with the last row that is as it was written; 0 without any.
    """
    version = 0
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
                decoded(stored.row)
                version, verdict.rows = stored.row.version, verdict.rows + 1
            return version
        except (ArtifactInvalid, Unavailable) as fault:
            begin = _begin(store, model, verdict)
            if begin.seq <= reached.seq:  # else retention took the file meanwhile
                _add(verdict, fault, _HARMLESS if reached.seq < newest else "")
        later = {position for position in (begin, *resume) if position.seq > reached.seq}
        resume = sorted(later, key=_SEQ)
    return version


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
