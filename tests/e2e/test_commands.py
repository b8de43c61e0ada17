"""`slimvec journal`, `verify` and `repair`, beside and after real servers."""

from __future__ import annotations

import signal
from pathlib import Path

import orjson
import pytest

from app.types import FloatArray
from tests.e2e.conftest import DEMO, ROOT
from tests.e2e.process import ServerProcess, run_to_end
from tests.e2e.requests import state, train


def run(command: str, models_dir: Path, *flags: str) -> tuple[int, str, str]:
    """Exit code, standard output and error of `slimvec COMMAND` on the demo model."""
    ended = run_to_end(command, DEMO, "--models-dir", str(models_dir), *flags)
    return ended.returncode, ended.stdout, ended.stderr


@pytest.fixture
def killed(models_dir: Path, stream: FloatArray) -> Path:
    """The models of a server that was killed: versions 1 and 3 on disk, then versions 4 and 5.

    Five rows: before the checkpoint the gate was asked, which makes no version.
    """
    with ServerProcess(models_dir, "--device", "cpu") as server:
        for number in range(4):
            train(server.client, hidden_states=stream[number * 32 :][:32])
            if number == 1:
                server.client.post(f"/models/{DEMO}/versions").raise_for_status()
        server.stop(signal.SIGKILL)
    return models_dir


def test_a_running_server_can_be_looked_at_and_not_be_repaired(
    models_dir: Path, stream: FloatArray
) -> None:
    with ServerProcess(models_dir, "--device", "cpu") as server:
        for _ in range(3):
            train(server.client, hidden_states=stream)
        server.client.put(f"/models/{DEMO}/serving", json={"version": 1}).raise_for_status()
        code, table, errors = run("journal", models_dir)
        newest = [orjson.loads(run("journal", models_dir, "--last", "1", "--json")[1])]
        verdict = run("verify", models_dir)
        refused = run("repair", models_dir, "--recover=last-good")
        learned = train(server.client, hidden_states=stream)
    lines = [line.split() for line in table.splitlines()]
    assert (code, errors) == (0, "")
    assert lines[0] == ["seq", "version", "time", "kind", "step", "loss", "rows", "key", "what"]
    assert [(line[0], line[1], line[3]) for line in lines[1:]] == [
        ("1", "2", "step"), ("2", "3", "step"), ("3", "4", "step"), ("4", "4", "serving"),
    ]  # fmt: skip
    assert [(entry["seq"], entry["what"], entry["loss"]) for entry in newest] == [
        (4, "version 1", None)
    ]
    assert verdict == (0, f"{DEMO} is whole: 1 versions and 4 journal rows\n", "")
    assert (refused[0], "another process is using the models directory" in refused[2]) == (3, True)
    assert learned["version"] == 5


def test_what_a_kill_leaves_is_whole_and_needs_no_repair(killed: Path) -> None:
    assert run("verify", killed) == (0, f"{DEMO} is whole: 2 versions and 5 journal rows\n", "")
    assert run("repair", killed)[:2] == (0, f"{DEMO}: nothing to repair\n")
    assert run("repair", killed, "--recover=last-good")[:2] == (0, f"{DEMO}: nothing to repair\n")


def test_a_lost_journal_is_found_said_repaired_and_then_all_is_whole(killed: Path) -> None:
    for path in (killed / DEMO).glob("journal-3.sqlite3*"):
        path.unlink()
    code, found, _ = run("verify", killed)
    _, would, _ = run("repair", killed)
    assert code == 1
    assert f"slimvec repair {DEMO} --recover=last-good" in found
    assert "row 5 (version 5) was acknowledged" in found
    assert f"{DEMO} would be at version 6 now" in would
    assert "given up: up to 2 acknowledged changes" in would
    assert "nothing was changed" in would
    assert run("verify", killed)[0] == 1

    code, did, _ = run("repair", killed, "--recover=last-good")
    assert (code, f"{DEMO} is at version 6 now" in did) == (0, True)
    (aside,) = (killed / DEMO).glob(".damaged-*")
    assert "journal.mark" in {path.name for path in aside.iterdir()}
    assert run("verify", killed)[0] == 0
    with ServerProcess(killed, "--device", "cpu") as server:
        demo = state(server.client, DEMO)
    assert (demo["version"], demo["step"]) == (6, _step_of(ROOT / "models" / DEMO / "1") + 2)


def _step_of(version: Path) -> int:
    step: int = orjson.loads((version / "state.json").read_bytes())["step"]
    return step


def test_a_damaged_newest_checkpoint_is_named_and_costs_nothing(killed: Path) -> None:
    weights = killed / DEMO / "3" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    code, found, _ = run("verify", killed)
    assert (code, f"version 3 of '{DEMO}': model.safetensors" in found) == (1, True)
    assert f"{DEMO}: 1 fault; " in found
    _, did, _ = run("repair", killed, "--recover=last-good")
    assert f"version 3 of '{DEMO}' is damaged" in did
    assert "checkpoint 1 and 5 changes after it" in did
    assert "given up: nothing" in did
    assert run("verify", killed)[0] == 0


def test_a_model_that_is_not_there_is_said(models_dir: Path) -> None:
    for command in ("journal", "verify", "repair"):
        ended = run_to_end(command, "absent", "--models-dir", str(models_dir))
        assert (ended.returncode, "there is no model 'absent'" in ended.stderr) == (1, True)
