"""Statement 1 at every failpoint: killed, failing or slow there, nothing is lost or doubled."""

from __future__ import annotations

import ast
from itertools import count, product
from pathlib import Path

import pytest
from safetensors.numpy import save

import app
from app.failpoints import IO_POINTS, POINTS
from tests.crash import reference
from tests.crash.processes import Served
from tests.crash.scale import IS_FULL, report
from tests.crash.trial import CALM, Rig
from tests.crash.wire import Wire

_HITS = (1, 2, 4) if IS_FULL else (1,)
_SEVERAL_SMALL = 9
# Reached before the server listens, when it is started with a file of weights.
_IMPORT = ["import.after_rename", "import.after_validate"]
_SERVING = sorted(POINTS.difference(_IMPORT))
# So many requests were answered by a server that was killed: the one under test has to replay.
_BEFORE = 9
# From this hit on, so that only the last few are slow.
_DELAYED = 15
_VARIABLE = "SLIMVEC_FAILPOINTS"


def test_every_failpoint_is_placed_once_at_least() -> None:
    placed = set()
    for path in Path(app.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "reach":
                placed |= {arg.value for arg in node.args if isinstance(arg, ast.Constant)}
    assert placed == POINTS


def test_a_kill_at_any_failpoint_loses_nothing(rig: Rig, tmp_path: Path) -> None:
    chosen = _SERVING if IS_FULL else _SERVING[:: len(_SERVING) // _SEVERAL_SMALL]
    trials = [f"{point}=kill:{hit}" for point, hit in product(chosen, _HITS)]
    codes, wrong = run_all(rig, trials, tmp_path)
    report(f"{len(trials)} kills at failpoints, {codes.count(-9)} reached: {len(wrong)} faults")
    assert wrong == []
    unreached = [trial for trial, code in zip(trials, codes, strict=True) if code != -9]
    assert [trial for trial in unreached if trial.endswith(":1")] == []


def test_an_error_at_any_failpoint_of_the_disk_loses_nothing(rig: Rig, tmp_path: Path) -> None:
    trials = [
        f"{point}={action}:{hit}"
        for point, action, hit in product(sorted(IO_POINTS), ("eio", "enospc"), _HITS)
    ]
    _, wrong = run_all(rig, trials if IS_FULL else trials[::3], tmp_path)
    report(f"{len(trials if IS_FULL else trials[::3])} errors at failpoints: {len(wrong)} faults")
    assert wrong == []


def test_a_delay_at_any_failpoint_changes_nothing(rig: Rig, tmp_path: Path) -> None:
    chosen = _SERVING if IS_FULL else ["journal.before_commit"]
    _, wrong = run_all(rig, [f"{point}=delay:{_DELAYED}" for point in chosen], tmp_path)
    report(f"{len(chosen)} delays at failpoints: {len(wrong)} faults")
    assert wrong == []


@pytest.mark.parametrize("point", _IMPORT)
def test_an_import_killed_at_a_failpoint_can_be_done_again(
    rig: Rig, tmp_path: Path, point: str
) -> None:
    models_dir, weights = rig.copy(tmp_path / "models"), tmp_path / "mine.safetensors"
    weights.write_bytes(save({"weight": reference.orthonormal(7)}))
    flags = (*CALM, "--state-dict", str(weights), "--with-failpoints")
    with Served(rig.forks, models_dir, flags, environment={_VARIABLE: f"{point}=kill"}) as served:
        assert served.wait() == -9, served.text
    with Served(rig.forks, models_dir, flags) as served, Wire(served.ready()) as wire:
        assert wire.send("GET", "/models/mine").json["version"] == 1
    assert rig.recover(models_dir, rig.walk()) == []


def test_failpoints_are_inert_without_the_flag(rig: Rig, tmp_path: Path) -> None:
    models_dir, walk = rig.copy(tmp_path / "models"), rig.walk()
    everything = ",".join(f"{point}=kill" for point in sorted(POINTS))
    with Served(rig.forks, models_dir, CALM, environment={_VARIABLE: everything}) as served:
        assert walk.go(served), served.text
        assert served.stop() == 0


def run_all(rig: Rig, trials: list[str], folder: Path) -> tuple[list[int], list[str]]:
    """The exit code of each trial's server, and everything that was wrong after recovery."""
    codes, wrong, numbers = [], [], count()
    for trial in trials:
        models_dir, walk = rig.copy(folder / f"models-{next(numbers)}"), rig.walk(stops_at=_BEFORE)
        with Served(rig.forks, models_dir, CALM) as served:
            assert walk.go(served), served.text
        walk.requests = rig.requests
        flags = (*CALM, "--with-failpoints")
        with Served(rig.forks, models_dir, flags, environment={_VARIABLE: trial}) as served:
            walk.go(served)
            codes.append(served.stop())
        wrong += [f"{trial}: {fault}" for fault in rig.recover(models_dir, walk)]
    return codes, wrong
