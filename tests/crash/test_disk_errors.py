"""Statements 5, 13: a call that fails is said, never guessed, and costs no acknowledged step."""

from __future__ import annotations

from itertools import count, product
from pathlib import Path

import pytest

from tests.crash import reference, strace
from tests.crash.processes import Served
from tests.crash.scale import IS_FULL, report
from tests.crash.strace import Point, Strace
from tests.crash.trial import CALM, Rig
from tests.crash.wire import Wire

pytestmark = pytest.mark.skipif(bool(strace.missing()), reason=strace.missing())

_SMALL = 8
_SYNCS = ("fsync", "fdatasync")


def test_an_error_of_any_call_loses_nothing(rig: Rig, points: list[Point], tmp_path: Path) -> None:
    trials = list(product(points, ("EIO", "ENOSPC")))
    chosen = trials if IS_FULL else trials[1 :: len(trials) // _SMALL]
    wrong, numbers = [], count()
    for point, error in chosen:
        models_dir = rig.copy(tmp_path / f"models-{next(numbers)}")
        walk, _ = rig.traced(models_dir, strace.failing(point, models_dir, error))
        wrong += [(point, error, fault) for fault in rig.recover(models_dir, walk)]
    report(f"{len(chosen)} errors at {len(points)} calls: {len(wrong)} faults")
    assert wrong == []


def test_a_failed_sync_stops_training_until_the_restart_and_is_never_repeated(
    rig: Rig, points: list[Point], tmp_path: Path
) -> None:
    models_dir, calls = rig.copy(tmp_path / "models"), tmp_path / "calls"
    point = journal_syncs(points)[3]
    failing = strace.failing(point, models_dir, "EIO")
    walk = rig.walk()
    with (
        Served(rig.forks, models_dir, CALM, before=["known_names"], is_held=True) as served,
        Strace(served.pid, *failing, output=calls),
    ):
        served.release()
        assert not walk.go(served)
        with Wire(served.ready()) as wire:
            after = [wire.train(reference.body(99), "another"), wire.reduce(reference.body(99))]
        served.stop()
    assert walk.refusals == ["outcome_unknown"]
    assert [(reply.status, reply.code) for reply in after] == [(503, "storage_failed"), (200, "")]
    assert syncs_after_the_failure(calls) == []
    assert rig.recover(models_dir, walk) == []


def test_a_full_disk_is_said_and_forgotten_when_there_is_space(
    rig: Rig, points: list[Point], tmp_path: Path
) -> None:
    models_dir = rig.copy(tmp_path / "models")
    writes = [p for p in points if p.call == "pwrite64" and p.path.endswith("-wal")]
    walk, code = rig.traced(models_dir, strace.failing(writes[6], models_dir, "ENOSPC"))
    assert (walk.refusals, walk.is_done, code) == (["storage_full"], True, 0)
    assert rig.recover(models_dir, walk) == []


def journal_syncs(points: list[Point]) -> list[Point]:
    """The syncs of the journal's log, each the moment at which a group becomes durable."""
    return [point for point in points if point.call in _SYNCS and point.path.endswith("-wal")]


def syncs_after_the_failure(calls: Path) -> list[str]:
    """Every sync of the same file that was tried after the one that failed."""
    lines = calls.read_text().splitlines()
    failed = next(number for number, line in enumerate(lines) if "(INJECTED)" in line)
    return [line for line in lines[failed + 1 :] if any(f" {call}(" in line for call in _SYNCS)]
