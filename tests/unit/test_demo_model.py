"""The committed demo model is what its name, its state and its card say."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from app.codecs import digest, short_digest
from app.layers import QRReduction, build, output_shape
from app.service.version_files import from_files
from app.storage.repository import Repository
from app.training import Trainer
from app.training.metrics import mean_reciprocal_rank, neighbour_overlap, own_ranks
from app.types import Batch, Checkpoint, TrainStep, VersionFiles
from benchmarks.quality.checks.demo import demo
from benchmarks.quality.splits import PUBLIC, read_splits
from benchmarks.quality.target import Bench, Finding
from examples.train_demo_model import main, write_sample
from tests.threads import one_thread

__all__ = ["one_thread"]

ROOT = Path(__file__).parents[2]
NAME = "minilm-384-to-96"
INPUT_SIZE, N_COMPONENTS, PAIRS = 384, 96, 500


def sample(name: str) -> Tensor:
    rows = torch.from_numpy(np.load(ROOT / "examples" / "data" / f"{name}.npy")).float()
    return torch.nn.functional.normalize(rows, dim=1)


def mrr(matrix: Tensor) -> float:
    reduced = sample("held_out") @ matrix.T
    ranks = own_ranks(reduced[:PAIRS], reduced[PAIRS:], torch.arange(PAIRS))
    return mean_reciprocal_rank(ranks)


@pytest.fixture(scope="module")
def files() -> VersionFiles:
    return Repository(ROOT / "models").read(NAME, 1)  # checks the digests of state.json


@pytest.fixture(scope="module")
def checkpoint(files: VersionFiles) -> Checkpoint:
    return from_files(1, files)


@pytest.fixture(scope="module")
def Q(checkpoint: Checkpoint) -> Tensor:
    return torch.tensor(checkpoint.serving["Q_reduced"])


def test_the_demo_has_the_sizes_of_its_name(checkpoint: Checkpoint, Q: Tensor) -> None:
    assert list(checkpoint.serving) == ["Q_reduced"]
    assert (Q.shape, Q.dtype) == ((N_COMPONENTS, INPUT_SIZE), torch.float32)
    assert (checkpoint.config.input_size, output_shape(checkpoint.config)) == (384, (96,))
    assert isinstance(build(checkpoint.config), QRReduction)


def test_the_demos_digest_is_the_one_of_its_state_and_card(
    files: VersionFiles, checkpoint: Checkpoint
) -> None:
    found = short_digest(digest(checkpoint.serving))
    assert (files.state["digest"], files.state["origin"]) == (found, "initial")
    assert found in card()
    assert files.state["files"]["model.safetensors"] in card()


def test_the_demo_finds_more_pairs_than_baselines_that_know_no_data(Q: Tensor) -> None:
    torch.manual_seed(0)
    random = torch.linalg.qr(torch.randn(INPUT_SIZE, N_COMPONENTS)).Q.T
    truncation = torch.eye(INPUT_SIZE)[:N_COMPONENTS]
    # Measured: .871 against .835 and .826. Half the margin: other processors round differently.
    assert mrr(Q) > max(mrr(random), mrr(truncation)) + 0.018


def test_the_demo_finds_nearly_as_many_pairs_as_the_full_dimension(Q: Tensor) -> None:
    # Measured on these 500: .871 against .883, with a quarter of the numbers.
    assert mrr(Q) > mrr(torch.eye(INPUT_SIZE)) - 0.02


def test_the_demo_finds_more_pairs_than_pca_of_all_it_was_trained_on(trainer: Trainer) -> None:
    assert trainer.observed is not None
    moment = trainer.observed.state.moments.second.mean()
    pca = torch.linalg.eigh(moment).eigenvectors.mT.flip(0)[:N_COMPONENTS].float()
    assert mrr(trainer.serving()["Q_reduced"]) > mrr(pca) + 0.01


@pytest.fixture
def trainer(checkpoint: Checkpoint) -> Trainer:
    assert checkpoint.trainer is not None
    trainer = Trainer(checkpoint.config)
    trainer.restore(checkpoint.trainer)
    return trainer


def test_streamed_train_steps_go_on_where_the_demo_was_trained(trainer: Trainer) -> None:
    before = nn10(trainer.serving()["Q_reduced"])
    updates = [
        trainer.train(TrainStep(batch=Batch(hidden_states=rows.numpy()))).update
        for rows in torch.split(sample("stream"), 32)
    ]
    assert (set(updates), trainer.version) == ({"gradient"}, 10)
    assert nn10(trainer.serving()["Q_reduced"]) > before  # without pairs, the neighbours come back


def test_the_demo_is_small_enough_for_a_repository() -> None:
    folder = ROOT / "models" / NAME / "1"
    assert sum(path.stat().st_size for path in folder.iterdir()) < 6_000_000


def test_the_sample_is_small_enough_for_a_repository() -> None:
    assert sum(path.stat().st_size for path in (ROOT / "examples" / "data").iterdir()) < 1_000_000


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The sample as if it were the whole data: quick, and good for nothing but running."""
    for split in ("train", "val", "test"):
        for side, rows in zip(
            "qd", sample("held_out").half().numpy().reshape(2, PAIRS, -1), strict=True
        ):
            np.save(tmp_path / f"{split}_{side}.npy", rows)
    return tmp_path


def test_the_script_writes_the_same_version_twice_and_never_over_another(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []
    for out in (data / "one", data / "two"):
        monkeypatch.setattr(sys, "argv", ["train_demo_model.py", str(data), "--out", str(out)])
        main()
        written.append(Repository(out).read(NAME, 1).model)
    assert written[0] == written[1]
    with pytest.raises(SystemExit, match="choose another --out"):
        main()


def test_the_script_writes_a_card_with_the_figures_of_its_version(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["train_demo_model.py", str(data), "--out", str(data / "out")])
    main()
    told = Repository(data / "out").describe(NAME, 1)["metrics"]
    written = (data / "out" / NAME / "1" / "README.md").read_text()
    assert f"| this model | {' | '.join(f'{value:.4f}' for value in told.values())} |" in written
    assert "| after 200 steps | " in written


def test_a_demo_that_is_not_what_its_state_tells_is_a_missed_target(data: Path) -> None:
    splits = replace(read_splits(data), digest=PUBLIC)
    found = [one for one in demo(Bench(splits=splits)) if isinstance(one, Finding)]
    assert [(one.what, one.is_met) for one in found] == [
        ("nn10, beside PCA's", False),  # PCA was fitted on these very documents
        ("mrr", True),
        ("metrics in state.json: differ by", False),
    ]


def test_the_script_cuts_the_sample_from_the_first_rows(data: Path) -> None:
    write_sample(data, data / "cut")
    held_out, stream = (np.load(data / "cut" / f"{name}.npy") for name in ("held_out", "stream"))
    source = sample("held_out").half().numpy()
    np.testing.assert_array_equal(held_out, source)
    np.testing.assert_array_equal(stream[1::2], source[PAIRS : PAIRS + 144])
    np.testing.assert_array_equal(stream[::2], source[:144])


def card() -> str:
    return (ROOT / "models" / NAME / "1" / "README.md").read_text()


def nn10(matrix: Tensor) -> float:
    rows = sample("held_out")
    reduced = rows @ matrix.T
    return neighbour_overlap(rows[:PAIRS], rows[PAIRS:], reduced[:PAIRS], reduced[PAIRS:])
