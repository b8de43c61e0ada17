"""Verification: whether everything that a model has on disk is whole.

Reads only, and beside a running server too: nothing here takes the lock or writes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from operator import attrgetter

from app.errors import ArtifactInvalid, NotFound, SlimvecError, Unavailable
from app.service.history import Moment
from app.service.inspection import check_model, decoded
from app.service.keys import KeyTable, Window
from app.service.version_files import from_files, moment_of
from app.types import JournalRow, Position, Serve, Serving, Store

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
    _check_journal(store, model, versions, verdict)
    verdict.findings[:0] = [_told(model, version, versions) for version in versions.damaged]
    if doubt := store.journal_doubt(model):
        verdict.findings.append(doubt)
    return verdict


@dataclass(slots=True)
class _Versions:
    """The version folders of a model.

    Attributes:
        newest: of those that can be read; 0 without any.
        positions: the places in the journal that those name, oldest first.
        damaged: the others, oldest first, each with its fault.
        reach: the version that the newest readable one and the rows after it make.
        serving: which version is served then.
        is_followed: whether the rows after the newest readable one are there.
    """

    newest: int = 0
    positions: list[Position] = field(default_factory=list)
    damaged: dict[int, str] = field(default_factory=dict)
    reach: int = 0
    serving: Serving = "live"
    is_followed: bool = True


def _check_versions(store: Store, model: str, verdict: Verdict) -> _Versions:
    found = _Versions()
    for version in store.versions(model):
        try:
            moment = _check_version(store, model, version)
        except ArtifactInvalid as fault:
            found.damaged[version] = fault.detail
        except NotFound:
            continue  # retention took it meanwhile
        else:
            found.positions.append(moment.position)
            found.newest = found.reach = version
            found.serving = moment.serving
        verdict.versions += 1
    return found


def _check_version(store: Store, model: str, version: int) -> Moment:
    files = store.read(model, version)
    from_files(version, files)
    KeyTable(Window(age_s=inf, newest=0, most=1)).load(files.keys or b"")
    return moment_of(files.state)


def _located(model: str, version: int, detail: str) -> str:
    where = f"version {version} of '{model}'"
    return detail if detail.startswith(where) else f"{where}: {detail}"


def _told(model: str, version: int, versions: _Versions) -> str:
    return (
        f"{_located(model, version, versions.damaged[version])}; {_cure(model, version, versions)}"
    )


def _cure(model: str, version: int, versions: _Versions) -> str:
    newest = versions.newest
    if not newest:
        return "no version can be read: restore one from a backup, or DELETE the model"
    if version == versions.serving != versions.reach:
        return (
            "it is the one that is served, so a start refuses the model: restore its folder, or "
            f"serve the newest: slimvec repair {model} --recover=last-good"
        )
    if version < newest:
        return "newer ones are whole, so nothing is lost but this one: remove its folder"
    if version <= versions.reach:
        return (
            f"version {newest} and the journal reach as far, so nothing is lost with it: "
            "a start sets it aside"
        )
    return f"use: slimvec repair {model} --recover=last-good"


def _check_journal(store: Store, model: str, versions: _Versions, verdict: Verdict) -> None:
    """Check every row; behind a fault go on at the next place that a checkpoint vouches for."""
    begin = _begin(store, model, verdict)
    _check_reachable(store, model, begin, versions, verdict)
    positions = versions.positions
    resume = sorted({p for p in positions if p.seq > begin.seq} | {begin}, key=_SEQ)
    chains = {position.seq: position.chain for position in positions}
    newest = max(chains, default=0)
    while resume:
        reached = resume[0]
        try:
            for stored in store.journal_rows(model, reached):
                reached = stored.position
                _check_chain(model, reached, chains)
                _follow(versions, stored.row)
                verdict.rows += 1
            return
        except (ArtifactInvalid, Unavailable) as fault:
            begin = _begin(store, model, verdict)
            if begin.seq <= reached.seq:  # else retention took the file meanwhile
                _add(verdict, fault, _HARMLESS if reached.seq < newest else "")
        later = {position for position in (begin, *resume) if position.seq > reached.seq}
        resume = sorted(later, key=_SEQ)


def _follow(versions: _Versions, row: JournalRow) -> None:
    """Go on from the newest readable version, if a row comes after it."""
    request, _ = decoded(row)
    if versions.is_followed and versions.positions and versions.positions[-1].seq < row.seq:
        versions.reach = row.version
        if isinstance(request, Serve):
            versions.serving = request.version


def _check_reachable(
    store: Store, model: str, begin: Position, versions: _Versions, verdict: Verdict
) -> None:
    """Whether the journal begins where the newest readable version ends, or before that."""
    if not versions.positions or begin.seq <= versions.positions[-1].seq:
        return
    if store.versions(model)[-1] > max(versions.newest, *versions.damaged, 0):
        return  # written meanwhile, and retention removed what was before it
    verdict.findings.append(
        f"the journal of '{model}' begins after row {begin.seq}, and version {versions.newest}, "
        f"the newest that can be read, ends at row {versions.positions[-1].seq}: restore a "
        f"version in between from a backup, or: slimvec repair {model} --recover=last-good"
    )
    versions.is_followed = False


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
