"""Statements 1, 11: killed at every call that changes the models directory, nothing is lost."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest

from tests.crash import strace
from tests.crash.scale import IS_FULL, report
from tests.crash.strace import Point
from tests.crash.trial import Rig

pytestmark = pytest.mark.skipif(bool(strace.missing()), reason=strace.missing())

_SMALL = 15


def test_a_kill_at_any_call_loses_nothing(rig: Rig, points: list[Point], tmp_path: Path) -> None:
    chosen = points if IS_FULL else points[:: len(points) // _SMALL]
    wrong, missed, numbers = [], [], count()
    for point in chosen:
        models_dir = rig.copy(tmp_path / f"models-{next(numbers)}")
        walk, code = rig.traced(models_dir, strace.killing(point, models_dir))
        missed += [point] if code != -9 else []
        wrong += [(point, fault) for fault in rig.recover(models_dir, walk)]
    num_killed = len(chosen) - len(missed)
    report(f"{num_killed} kills at {len(chosen)} of {len(points)} calls: {len(wrong)} faults")
    assert wrong == []
    assert len(missed) <= len(chosen) // 20, f"too many of the calls did not come again: {missed}"
