from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.cli.training_file import TrainingFile
from app.errors import Unacceptable

ROWS = np.arange(21, dtype=np.float32).reshape(7, 3)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    np.save(tmp_path / "rows.npy", ROWS)
    return tmp_path / "rows.npy"


def test_every_epoch_goes_through_all_rows_in_their_order(path: Path) -> None:
    batches = [batch.hidden_states for batch in TrainingFile(path, batch_size=3, epochs=2)]
    assert [len(batch) for batch in batches] == [3, 3, 1, 3, 3, 1]
    np.testing.assert_array_equal(np.concatenate(batches), np.concatenate([ROWS, ROWS]))


def test_targets_are_those_of_the_same_rows(path: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "targets.npy", ROWS[:, :1] * 2)
    for batch in TrainingFile(path, {"targets": tmp_path / "targets.npy"}, batch_size=2):
        assert batch.targets is not None
        np.testing.assert_array_equal(batch.targets, batch.hidden_states[:, :1] * 2)


def test_every_field_is_of_the_same_rows(path: Path, tmp_path: Path) -> None:
    beside: dict[str, Any] = {
        "positives": ROWS + 1,
        "negatives": -ROWS,
        "labels": np.arange(7),
    }
    for name, array in beside.items():
        np.save(tmp_path / f"{name}.npy", array)
    file = TrainingFile(path, {name: tmp_path / f"{name}.npy" for name in beside}, batch_size=2)
    arrays = [batch.arrays() for batch in file]
    for name, array in {"hidden_states": ROWS, **beside}.items():
        np.testing.assert_array_equal(np.concatenate([batch[name] for batch in arrays]), array)


def test_a_file_is_mapped_not_read(path: Path) -> None:
    assert isinstance(next(iter(TrainingFile(path, batch_size=2))).hidden_states, np.memmap)


@pytest.mark.parametrize(
    ("record", "until", "rows"),
    [(1, 3, (0, 3)), (2, 6, (3, 6)), (3, 7, (6, 7)), (4, 10, (0, 3)), (6, 14, (6, 7))],
)
def test_a_record_knows_its_rows(
    path: Path, record: int, until: int, rows: tuple[int, int]
) -> None:
    file = TrainingFile(path, batch_size=3, epochs=2)
    assert file.num_rows == 14
    assert file.rows_until(record) == until
    assert file.rows_of(record) == slice(*rows)


@pytest.mark.parametrize(
    "array",
    [
        np.ones(3),
        np.ones((0, 3)),
        np.ones((3, 0)),
        np.array([["a"]]),
        np.ones((2, 2), complex),
        np.zeros(2, [("x", "f4")]),
    ],
    ids=["one dimension", "no rows", "no width", "text", "complex", "records"],
)
def test_an_array_that_holds_no_rows_of_numbers_is_refused(tmp_path: Path, array: Any) -> None:
    np.save(tmp_path / "other.npy", array)
    with pytest.raises(Unacceptable, match="file of numbers with shape"):
        TrainingFile(tmp_path / "other.npy", batch_size=2)


def test_python_objects_are_never_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "objects.npy", np.array([[print]], object), allow_pickle=True)
    with pytest.raises(Unacceptable, match="file of numbers with shape"):
        TrainingFile(tmp_path / "objects.npy", batch_size=2)


def test_other_targets_than_rows_are_refused(path: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "targets.npy", ROWS[:6])
    with pytest.raises(Unacceptable, match=r"as many rows of targets .* got 6 and 7"):
        TrainingFile(path, {"targets": tmp_path / "targets.npy"}, batch_size=2)


@pytest.mark.parametrize("name", ["absent.npy", "."])
def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(Unacceptable, match=r"expected a file to read at .*: \w+"):
        TrainingFile(tmp_path / name, batch_size=2)


@given(cut=st.integers(0, 211), flips=st.lists(st.tuples(st.integers(0, 127), st.integers(0, 255))))
def test_a_damaged_file_is_refused_or_still_numbers(
    tmp_path_factory: pytest.TempPathFactory, cut: int, flips: list[tuple[int, int]]
) -> None:
    path = tmp_path_factory.mktemp("damaged") / "rows.npy"
    np.save(path, ROWS)
    octets = bytearray(path.read_bytes())
    for place, value in flips:
        octets[place] = value
    path.write_bytes(octets[:cut])
    with suppress(Unacceptable):
        assert TrainingFile(path, batch_size=2).num_rows > 0
