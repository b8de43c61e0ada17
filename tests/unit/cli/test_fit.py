"""`slimvec fit`: a folder that is served at once, or a fit of a running server's model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import load_file, save_file

from app.cli import main
from tests.conftest import MODELS
from tests.server import create, serving

ROWS = np.random.default_rng(2).standard_normal((50, 8)).astype(np.float32)


def fit(*arguments: str | Path) -> Any:
    return CliRunner().invoke(main, ["fit", *map(str, arguments)])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "rows.npy"
    np.save(path, ROWS)
    return path


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".safetensors"])
def test_a_file_becomes_a_model_whose_weights_are_its_directions(
    tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"rows{suffix}"
    arrays = {"hidden_states": ROWS}
    match suffix:
        case ".npy":
            np.save(path, ROWS)
        case ".npz":
            np.savez(path, hidden_states=ROWS)
        case _:
            save_file(arrays, path)
    models = tmp_path / "models"
    models.mkdir()
    result = fit(path, "--components", "3", "--batch-size", "7", "--out", models / "mine")
    assert result.exit_code == 0, result.output
    matrix = load_file(models / "mine" / "1" / "model.safetensors")["Q_reduced"]
    unit = ROWS / np.linalg.norm(ROWS.astype(float), axis=1, keepdims=True)
    directions = np.linalg.svd(unit)[2]
    np.testing.assert_allclose(np.abs(matrix @ directions[:3].T), np.eye(3), atol=1e-5)


def test_the_folder_is_served_and_trained_at_once(tmp_path: Path, file: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    method = '{"type": "pair_lda", "regularization": 0.5}'
    arguments = ("--components", "3", "--method", method, "--positives", file)
    result = fit(file, *arguments, "--out", models / "mine")
    assert "model mine: 100 vectors" in result.output
    assert "warning: made from 100 vectors, where 2048 are advised" in result.output
    with serving(models) as server:
        batch = {"hidden_states": ROWS.tolist()}
        reduced = server.http.post("/models/mine/reduce", json=batch).json()
        step = server.http.post("/models/mine/train-step", json=batch).json()
    assert (reduced["version"], reduced["shape"], step["version"]) == (1, [50, 3], 2)


def test_a_centred_fit_makes_a_model_with_a_bias(tmp_path: Path, file: Path) -> None:
    (tmp_path / "models").mkdir()
    out = tmp_path / "models" / "mine"
    fit(file, "--components", "3", "--method", '{"type": "pca", "center": true}', "--out", out)
    tensors = load_file(out / "1" / "model.safetensors")
    np.testing.assert_allclose(
        tensors["bias"], -tensors["Q_reduced"] @ ROWS.mean(axis=0), rtol=0, atol=1e-6
    )


def test_a_running_servers_model_begins_anew(tmp_path: Path, file: Path) -> None:
    with serving(tmp_path / "models") as server:
        create(server, "small", MODELS["small"])
        result = fit(file, "--url", server.url, "--model", "small")
        state = server.http.get("/models/small/state").json()
    assert "model small: 50 vectors" in result.output
    assert state["version"] == 2


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        ((), 2, "--out FOLDER for a new model, or --url"),
        (("--out", "x", "--url", "http://x"), 2, "--out FOLDER for a new model, or --url"),
        (("--out", "x"), 2, "expected --components K"),
        (("--url", "http://x", "--components", "3"), 2, "the server's model has its own"),
        (("--out", "x", "--components", "3", "--method", "ica"), 1, "unknown fit method"),
        (("--out", "x", "--components", "3", "--method", "pair_lda"), 1, "learns from pairs"),
        (
            ("--out", "x", "--components", "9"),
            1,
            "slimvec: /layers/0/n_components: expected n_components of at most",
        ),
    ],
)
def test_what_cannot_be_is_said(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    file: Path,
    arguments: tuple[str, ...],
    status: int,
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    result = fit(file, *arguments)
    assert (result.exit_code, said in result.output) == (status, True), result.output
    assert not (tmp_path / "x").exists()


def test_a_model_that_is_there_is_not_written_over(tmp_path: Path, file: Path) -> None:
    arguments = ("--out", tmp_path / "x", "--components", "3")
    assert fit(file, *arguments).exit_code == 0
    again = fit(file, *arguments)
    assert (again.exit_code, again.output.count("\n")) == (1, 1)
    assert "'x', which exists already; write to another folder, or give" in again.output
