"""What `slimvec journal` and `slimvec verify` see, on whole and on damaged models."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from app.config import parse_config
from app.errors import ArtifactInvalid, NotFound
from app.service import Service
from app.service.inspection import changes
from app.service.verification import verify
from app.storage.repository import Repository
from app.types import Batch
from tests.unit.service.examples import CONFIG, flip, key, live_once, step

_FILES = ["config.json", "model.safetensors", "trainer.safetensors", "state.json"]


async def _live(service: Service) -> None:
    """Every kind of change; versions 1, 3 and 5 on disk, and the rows after version 3."""
    rows = np.random.default_rng(1).standard_normal((7, 6)).astype(np.float32)
    await service.create("m", CONFIG)
    await service.train_step("m", step(0))
    await service.train_step("m", step(1))
    await service.checkpoint("m")
    await service.controls.promote("m", 1)
    await service.controls.rollback("m", 3)
    await service.controls.configure("m", (0.5,))
    await service.controls.fit("m", Batch(hidden_states=rows))
    await service.checkpoint("m")
    await service.controls.replace("m", {"weight": rows[:2]})
    await service.train_step("m", step(2), key("a", 2))


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("lived")
    live_once(root / "first", _live, crash_to=root / "crashed")
    return root / "crashed"


@pytest.fixture
def model(template: Path, tmp_path: Path) -> Path:
    """The folder of a model that was killed."""
    shutil.copytree(template, tmp_path / "models")
    return tmp_path / "models" / "m"


def _findings(model: Path) -> list[str]:
    return verify(Repository(model.parent), "m").findings


def test_the_journal_tells_every_change_in_its_order(model: Path) -> None:
    found = [
        (e.seq, e.version, e.kind, e.step, e.rows, e.what)
        for e in changes(Repository(model.parent), "m")
    ]
    assert found == [
        (3, 3, "serving", 2, None, "version 1"),
        (4, 4, "rollback", 2, None, "to version 3"),
        (5, 4, "config", 2, None, "learning rate 0.5"),
        (6, 5, "fit", 0, 7, "pca"),
        (7, 6, "import", 0, None, ""),
        (8, 7, "step", 1, 5, ""),
    ]


def test_a_key_is_told_by_the_beginning_of_its_hash_only(model: Path) -> None:
    keys = [entry.key for entry in changes(Repository(model.parent), "m")]
    assert keys == [*[""] * 5, key("a", 2).hash[:12]]


def test_what_is_whole_is_found_whole(model: Path) -> None:
    verdict = verify(Repository(model.parent), "m")
    assert (verdict.versions, verdict.rows, verdict.findings) == (3, 6, [])


def test_looking_changes_nothing(model: Path) -> None:
    def content() -> dict[Path, bytes]:
        # SQLite makes an index of the WAL for each reader; it holds nothing of its own.
        paths = [path for path in model.rglob("*") if path.is_file() and "-shm" not in path.name]
        return {path: path.read_bytes() for path in paths}

    before = content()
    verify(Repository(model.parent), "m")
    list(changes(Repository(model.parent), "m"))
    assert content() == before


@pytest.mark.parametrize("name", _FILES)
@pytest.mark.parametrize(
    ("version", "cure"),
    [
        (5, "nothing is lost with it: a start sets it aside"),
        (3, "remove its folder"),
        (1, "it is the one that is served, so a start refuses the model"),
    ],
)
def test_a_flipped_bit_in_a_version_is_found_with_its_cure(
    model: Path, version: int, name: str, cure: str
) -> None:
    flip(model / str(version) / name)
    (finding,) = _findings(model)
    assert finding.startswith(f"version {version} of 'm': ")
    assert name in finding
    assert cure in finding


def test_weights_that_nobody_can_serve_are_found_in_a_folder_made_by_hand(model: Path) -> None:
    (model / "1" / "state.json").unlink()
    weights = np.full((2, 6), np.nan, np.float32)
    (model / "1" / "model.safetensors").write_bytes(save({"Q_reduced": weights}))
    (finding,) = _findings(model)
    assert finding.startswith("version 1 of 'm': expected finite weights in model.safetensors")


def test_no_readable_version_at_all_is_said(model: Path) -> None:
    for version in (1, 3, 5):
        flip(model / str(version) / "model.safetensors")
    findings = _findings(model)
    assert len(findings) == 3
    assert all("no version can be read" in finding for finding in findings)


def test_every_fault_is_found_not_only_the_first(model: Path) -> None:
    flip(model / "3" / "model.safetensors")
    _change_row(model / "journal-3.sqlite3", 4)
    _change_row(model / "journal-5.sqlite3", 8)
    findings = _findings(model)
    assert [text.partition(" ")[0] for text in findings] == [
        "version", "journal-3.sqlite3", "journal-5.sqlite3",
    ]  # fmt: skip
    assert all("slimvec repair m --recover=last-good" in text for text in findings[1:])
    assert ["nothing is lost" in text for text in findings] == [True, True, False]


def test_rows_behind_a_fault_are_counted_where_a_checkpoint_vouches_for_them(model: Path) -> None:
    _change_row(model / "journal-3.sqlite3", 4)
    assert verify(Repository(model.parent), "m").rows == 3  # 3, 7 and 8


def test_the_changes_before_the_damage_are_told(model: Path) -> None:
    _change_row(model / "journal-5.sqlite3", 8)
    told = changes(Repository(model.parent), "m")
    assert [next(told).seq for _ in range(5)] == list(range(3, 8))
    with pytest.raises(ArtifactInvalid, match=r"journal-5\.sqlite3.*slimvec repair"):
        next(told)


@pytest.mark.parametrize("name", ["journal-5.sqlite3-wal", "journal-5.sqlite3"])
def test_a_lost_file_is_found(model: Path, name: str) -> None:
    (model / name).unlink()
    assert len(_findings(model)) == 1
    assert "acknowledged" in _findings(model)[0]


def test_a_lost_mark_is_found(model: Path) -> None:
    (model / "journal.mark").unlink()
    (finding,) = _findings(model)
    assert finding.startswith("journal.mark of 'm' is missing")


@pytest.mark.parametrize(
    ("seq", "cure"),
    [
        (6, "slimvec repair m --recover=last-good"),
        (7, "version 3 and the journal reach as far, so nothing is lost with it"),
    ],
)
def test_a_damaged_newest_version_needs_no_repair_where_the_journal_reaches_as_far(
    model: Path, seq: int, cure: str
) -> None:
    flip(model / "5" / "model.safetensors")
    file = {6: "journal-3.sqlite3", 7: "journal-5.sqlite3"}[seq]
    _change_row(model / file, seq)
    assert cure in _findings(model)[0]


def test_a_journal_that_no_readable_version_reaches_is_found(model: Path) -> None:
    for version in (3, 5):
        flip(model / str(version) / "model.safetensors")
    *damaged, gap = _findings(model)
    assert all("slimvec repair m --recover=last-good" in finding for finding in damaged)
    assert gap.startswith("the journal of 'm' begins after row 2, and version 1")


def test_lost_versions_that_the_journal_does_not_make_again_are_found(model: Path) -> None:
    for version in (3, 5):
        shutil.rmtree(model / str(version))
    (gap,) = _findings(model)
    assert "ends at row 0" in gap


def test_the_damaged_version_that_is_served_is_not_to_be_removed(
    tmp_path: Path, model: Path
) -> None:
    async def pin(service: Service) -> None:
        await service.controls.promote("m", 5)
        await service.train_step("m", step(3))

    live_once(model.parent, pin, crash_to=tmp_path / "pinned")
    flip(tmp_path / "pinned" / "m" / "5" / "model.safetensors")
    (finding,) = _findings(tmp_path / "pinned" / "m")
    assert "it is the one that is served, so a start refuses the model" in finding


def test_the_journal_of_another_life_is_found(model: Path, tmp_path: Path) -> None:
    live_once(tmp_path / "first", _live, crash_to=tmp_path / "other")
    for path in (tmp_path / "other" / "m").glob("journal-3.sqlite3*"):
        shutil.copy(path, model)
    (finding,) = _findings(model)
    assert finding.startswith("row 6 of the journal of 'm' is not the one that a checkpoint")


def test_a_model_that_never_learned_has_nothing_to_find(tmp_path: Path) -> None:
    async def create(service: Service) -> None:
        await service.create("m", parse_config(CONFIG.model_dump()))

    live_once(tmp_path, create)
    repository = Repository(tmp_path)
    verdict = verify(repository, "m")
    assert (verdict.versions, verdict.rows, verdict.findings) == (1, 0, [])
    assert list(changes(repository, "m")) == []


@pytest.mark.parametrize("look", [verify, lambda store, name: list(changes(store, name))])
def test_a_model_that_is_not_there_is_said(tmp_path: Path, look: object) -> None:
    assert callable(look)
    with pytest.raises(NotFound, match="no model 'm'"):
        look(Repository(tmp_path), "m")


def _change_row(path: Path, seq: int) -> None:
    """Change a row as SQLite would: its own checksums agree, only ours does not."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE change SET at = 'never' WHERE seq = ?", (seq,))
