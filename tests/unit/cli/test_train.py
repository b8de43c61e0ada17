"""`slimvec train` against a server in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from app.cli import main
from app.errors import Unavailable
from tests.server import RunningServer


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    values = np.random.default_rng(0).normal(size=(10, 8)).astype(np.float32)
    np.save(tmp_path / "rows.npy", values)
    return tmp_path / "rows.npy"


def train(path: Path, *options: Any) -> Result:
    return CliRunner().invoke(main, ["train", str(path), *map(str, options)])


def test_it_trains_on_every_row_and_says_so(
    server: RunningServer, new_model: Any, rows: Path
) -> None:
    where = ("--url", server.url, "--model", new_model())
    result = train(rows, *where, "--batch-size", 4, "--epochs", 2)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("20 of 20 rows, ")
    assert "version 7; 0 records refused" in result.stdout


def test_targets_and_a_loss_are_sent(
    server: RunningServer, new_model: Any, rows: Path, tmp_path: Path
) -> None:
    np.save(tmp_path / "targets.npy", np.zeros((10, 3)))
    where = ("--url", server.url, "--model", new_model())
    assert train(rows, *where, "--loss", "mse").exit_code == 1
    targets = ("--targets", tmp_path / "targets.npy")
    assert train(rows, *where, "--loss", "mse", *targets).exit_code == 0


@pytest.mark.parametrize(
    ("on_error", "code", "summary"),
    [
        ("stop", 1, "4 of 10 rows, "),
        ("skip", 0, "10 of 10 rows, "),
    ],
)
def test_a_refused_batch_is_named_by_its_rows(
    server: RunningServer, new_model: Any, rows: Path, on_error: str, code: int, summary: str
) -> None:
    values = np.load(rows)
    values[5] = np.nan
    np.save(rows, values)
    where = ("--url", server.url, "--model", new_model())
    result = train(rows, *where, "--batch-size", 4, "--on-error", on_error)
    assert result.exit_code == code
    assert result.stderr.count("refused: rows 4 to 7 (record 2): ") == 1
    assert len(result.stderr.splitlines()) == 1
    assert result.stdout.startswith(summary)
    assert result.stdout.endswith("; 1 records refused\n")


def test_an_error_that_is_no_refusal_is_said_after_what_was_done(
    server: RunningServer, new_model: Any, rows: Path
) -> None:
    values = np.load(rows).astype(np.float64)
    values[5] = 1e300
    np.save(rows, values)
    result = train(rows, "--url", server.url, "--model", new_model(), "--batch-size", 4)
    assert result.exit_code == 1
    assert result.stderr.startswith("slimvec: /hidden_states/1/0: expected numbers within")
    assert result.stdout.startswith("0 of 10 rows, ")


def test_a_server_that_is_not_there_is_said_at_once(rows: Path) -> None:
    result = train(rows, "--url", "http://127.0.0.1:9", "--retry-for", 1000)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("slimvec: expected a server at 127.0.0.1:9, could not reach")


def test_a_model_that_is_not_there_is_said_at_once(server: RunningServer, rows: Path) -> None:
    result = train(rows, "--url", server.url, "--model", "absent")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "model 'absent'" in result.stderr


def test_a_file_that_cannot_be_used_is_said_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "rows.npy").write_text("1,2,3")
    result = train(tmp_path / "rows.npy")
    (sentence,) = result.stderr.splitlines()
    assert (result.exit_code, result.stdout) == (1, "")
    assert "to be a file of numbers with shape (rows, width): .npy as" in sentence


def test_a_run_that_was_ended_goes_on_under_its_key(
    server: RunningServer, new_model: Any, rows: Path
) -> None:
    model = new_model()
    where = ("--url", server.url, "--model", model, "--batch-size", 4, "--key", "monday")
    for _ in range(2):
        result = train(rows, *where)
        assert result.exit_code == 0, result.output
        assert "version 4; 0 records refused" in result.stdout
    assert server.service.live(model).snapshot.step == 3


def test_a_run_that_gives_up_says_under_which_key_to_go_on(
    server: RunningServer, new_model: Any, rows: Path
) -> None:
    model = new_model()
    server.service.live(model).stop_training(Unavailable("storage_failed", "the disk failed"))
    where = ("--url", server.url, "--model", model, "--retry-for", 0, "--key", "monday")
    result = train(rows, *where)
    assert (result.exit_code, "the same command, --key monday" in result.stderr) == (1, True)
