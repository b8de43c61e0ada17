from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from app.cli import main
from app.codecs import pack
from tests.embeddings import pairs


@pytest.fixture
def files(tmp_path: Path) -> Path:
    queries, documents = pairs(300, seed=1)
    np.save(tmp_path / "rows.npy", queries)
    np.save(tmp_path / "partners.npy", documents)
    np.savez(tmp_path / "rows.npz", hidden_states=queries, other=documents)
    np.savez(tmp_path / "partners.npz", positives=documents, other=queries)
    (tmp_path / "rows.safetensors").write_bytes(pack({"hidden_states": queries}, {}))
    return tmp_path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["compare", *map(str, arguments)])


def test_compare_prints_a_table_and_bars(files: Path) -> None:
    found = run(files / "rows.npy", files / "partners.npy", "--components", "4,8")
    assert found.exit_code == 0, found.output
    assert "120 vectors held out of 600, seed 0" in found.output
    assert found.output.count("| trained") == 2
    assert "█" in found.output


def test_compare_says_the_same_of_every_form_of_file(files: Path) -> None:
    outputs = {
        run(files / rows, files / partners, "--components", "4", "--json").output
        for rows, partners in (
            ("rows.npy", "partners.npy"),
            ("rows.npz", "partners.npz"),
            ("rows.safetensors", "partners.npy"),
        )
    }
    (output,) = outputs
    document = json.loads(output)
    assert (document["input_size"], document["learned"], document["held_out"]) == (48, 480, 120)
    assert [row["method"] for row in document["rows"]][-1] == "full"


def test_compare_without_pairs_knows_no_mrr(files: Path) -> None:
    document = json.loads(run(files / "rows.npy", "--components", "4", "--json").output)
    assert {row["mrr"] for row in document["rows"]} == {None}


def test_compare_draws_a_picture(files: Path) -> None:
    found = run(files / "rows.npy", "--components", "4", "--plot", files / "plot.png")
    assert found.exit_code == 0, found.output
    assert (files / "plot.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("missing.npy",), "expected a file to read at"),
        (
            ("rows.npy", "--components", "49"),
            "slimvec: /components: expected numbers of components from 1 to 48, the w",
        ),
        (("rows.npy", "--components", "a"), "whole numbers with commas"),
        (("rows.npy", "--held-out", "0.01"), "another share to hold out"),
        (("rows.npy", "--plot", "no-such-folder/plot.png"), "in a folder that is there"),
        (("rows.npy", "--plot", "plot.jpg"), "to end in .png"),
        (("other.npz",), "none of them named hidden_states"),
    ],
)
def test_compare_says_what_is_wrong(files: Path, arguments: tuple[str, ...], says: str) -> None:
    np.savez(files / "other.npz", a=np.ones((2, 2)), b=np.ones((2, 2)))
    found = run(files / arguments[0], *arguments[1:])
    assert found.exit_code != 0
    assert says in found.output
