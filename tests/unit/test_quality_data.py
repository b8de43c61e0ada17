"""Data for `make quality`: texts from docstrings, embedded, and what of it can be measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from torch import Tensor

from benchmarks.quality.__main__ import main
from benchmarks.quality.docstrings import pairs
from benchmarks.quality.embed import write
from benchmarks.quality.splits import read_splits
from tests.threads import one_thread_a_module

__all__ = ["one_thread_a_module"]

SUMMARY, REST = "Return what is asked for, at once.", "The rest of the story. " * 5
DOCSTRING = f'"""{SUMMARY}\n\n{REST}\n"""\n'
OTHER = DOCSTRING.replace("at once", "otherwise").replace("The rest", "Another rest")


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "packages"
    for name in ("one", "two", "tests"):
        (folder / name).mkdir(parents=True)
    return folder


def test_a_docstring_is_a_pair_of_its_first_line_and_the_rest(package: Path) -> None:
    (package / "one" / "a.py").write_text(DOCSTRING + "raise RuntimeError('was imported')\n")
    assert list(pairs([package])) == [(SUMMARY, REST.strip(), "one")]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("two/copy.py", DOCSTRING),
        ("two/ending.py", DOCSTRING.replace('story. \n"""', 'story. It ends otherwise.\n"""')),
        ("tests/a.py", OTHER),
        ("two/broken.py", "def ("),
        ("two/short.py", '"""Return what is asked for.\n\nOften.\n"""'),
        ("two/terse.py", OTHER.replace("Return what is asked for, otherwise.", "Return.")),
    ],
)
def test_no_other_pair_comes_of_a_copy_a_test_or_few_words(
    package: Path, name: str, text: str
) -> None:
    (package / "one" / "a.py").write_text(DOCSTRING)
    (package / name).write_text(text)
    assert len(list(pairs([package]))) == 1


def test_pairs_of_a_file_stay_together_and_are_not_many(package: Path) -> None:
    for name in ("one", "two"):
        texts = [
            f'"""{SUMMARY[:-1]} by {name} {i}.\n\n    {name} {i}: {REST}"""' for i in range(30)
        ]
        functions = [f"def f{i}() -> None:\n    {text}\n" for i, text in enumerate(texts)]
        (package / name / "many.py").write_text("".join(functions))
    labels = [label for *_, label in pairs([package])]
    assert labels in ([*["one"] * 10, *["two"] * 10], [*["two"] * 10, *["one"] * 10])


class Letters:
    """An encoder: a token a word, padded to the longest text; a token's state is its length."""

    def encode(
        self, texts: Sequence[str], *, output_value: None, normalize_embeddings: bool
    ) -> list[dict[str, Tensor]]:
        longest = max(len(text.split()) for text in texts) + 2
        found = []
        for text in texts:
            state = torch.full((longest, 3), -1.0)
            state[1 : len(text.split()) + 1] = torch.tensor([len(w) for w in text.split()])[:, None]
            mask = torch.arange(longest) < len(text.split()) + 2
            vector = torch.nn.functional.normalize(torch.tensor([1.0, 2.0, len(text)]), dim=0)
            found.append(
                {"sentence_embedding": vector, "token_embeddings": state, "attention_mask": mask}
            )
        return found


@pytest.fixture
def embedded(tmp_path: Path) -> Path:
    lines = [[f"{i} asked", "a bc def ghij" + " klmnop" * i, "ab"[i % 2]] for i in range(12)]
    for split in ("train", "val", "test"):
        write(tmp_path, split, lines, Letters(), states=2)
    return tmp_path


def test_what_was_embedded_is_read_as_pairs_with_labels(embedded: Path) -> None:
    splits = read_splits(embedded)
    assert splits.train.queries.shape == splits.test.documents.shape == (12, 3)
    assert torch.allclose(splits.val.documents.norm(dim=1), torch.ones(12), atol=1e-3)
    assert splits.labels == {split: list("ab" * 6) for split in ("train", "test")}


def test_states_are_of_tokens_within_the_text_and_never_of_padding(embedded: Path) -> None:
    states = read_splits(embedded).states
    assert set(states) == {"train", "test"}
    # Of four words the second and the third; of fifteen the sixth and the eleventh.
    assert states["train"][:, 0].tolist()[:2] == [2.0, 3.0]
    assert states["train"][:, 0].tolist()[-2:] == [6.0, 6.0]
    assert not (embedded / "val_states.npy").exists()


def folder_of(folder: Path, *, width: int, states: int = 0) -> Path:
    """Files of random vectors, and of states of another width, if one is given."""
    draw = np.random.default_rng(0)
    folder.mkdir(exist_ok=True)
    for split in ("train", "val", "test"):
        for side in "qd":
            np.save(folder / f"{split}_{side}.npy", draw.normal(size=(20, width)))
        if states and split != "val":
            np.save(folder / f"{split}_states.npy", draw.normal(size=(400, states)))
    return folder


def run(data: Path, *options: str) -> Result:
    return CliRunner().invoke(main, [str(data), *options, "--seeds", "1"], catch_exceptions=False)


@pytest.mark.parametrize(
    ("width", "options", "told"),
    [
        (72, ["--only", "versions"], "| k=64 | - | not measured: needs more than 2,048 vectors"),
        (
            48,
            ["--only", "scale", "--plots", "."],
            "k=64: not measured: needs vectors wider than 64",
        ),
    ],
)
def test_what_the_data_cannot_show_is_not_measured(
    tmp_path: Path, width: int, options: list[str], told: str
) -> None:
    found = run(folder_of(tmp_path, width=width), *options)
    assert told in found.output
    assert (found.exit_code, "0 targets missed" in found.output) == (0, True)


def test_other_data_of_another_width_are_refused(tmp_path: Path) -> None:
    other = folder_of(tmp_path / "other", width=72)
    found = run(folder_of(tmp_path, width=96), "--only", "shift", "--other", str(other))
    told = " ".join(found.output.split())
    assert "expected --other with vectors of 96 numbers as DATA has, got 72" in told
    assert found.exit_code == 2


@pytest.mark.parametrize(
    ("sides", "shape"), [("d", (19, 48)), ("d", (20, 47)), ("d", (20,)), ("qd", (20, 47))]
)
def test_files_that_do_not_fit_each_other_are_refused(
    tmp_path: Path, sides: str, shape: tuple[int, ...]
) -> None:
    folder_of(tmp_path, width=48)
    for side in sides:
        np.save(tmp_path / f"test_{side}.npy", np.zeros(shape))
    found = run(tmp_path)
    told = " ".join(found.output.split())
    assert "expected test_q and test_d of one shape (pairs, width), as wide as train_q" in told
    assert found.exit_code == 2


def test_given_states_are_measured_whatever_the_vectors_are(tmp_path: Path) -> None:
    found = run(folder_of(tmp_path, width=16, states=80), "--only", "states")
    assert "| k=64, online, real states: finite, and nn10 as a share of PCA's |" in found.output
    assert "made-up" not in found.output


def test_states_that_are_narrow_are_not_measured(tmp_path: Path) -> None:
    found = run(folder_of(tmp_path, width=72, states=64), "--only", "states")
    assert "| k=64 | - | not measured: needs vectors wider than 64 | - |" in found.output
    assert found.exit_code == 0


def test_without_states_some_are_made_up_and_that_is_said(tmp_path: Path) -> None:
    found = run(folder_of(tmp_path, width=72), "--only", "states")
    assert "| k=64, offline, made-up states: finite, and nn10 as a share" in found.output
    assert "PCA of the made-up states" in found.output
