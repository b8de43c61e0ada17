from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from app.cli.array_file import open_rows
from app.codecs import pack
from app.errors import Unacceptable

ROWS = np.arange(21, dtype=np.float32).reshape(7, 3)


def written(path: Path) -> Path:
    match path.suffix:
        case ".npz":
            np.savez(path, hidden_states=ROWS, targets=-ROWS)
        case ".safetensors":
            path.write_bytes(pack({"hidden_states": ROWS, "targets": -ROWS}, {}))
        case _:
            np.save(path, ROWS)
    return path


@pytest.mark.parametrize("name", ["rows.npy", "rows.npz", "rows.safetensors"])
def test_rows_come_from_every_form_of_file(tmp_path: Path, name: str) -> None:
    np.testing.assert_array_equal(open_rows(written(tmp_path / name)), ROWS)


@pytest.mark.parametrize("name", ["rows.npz", "rows.safetensors"])
def test_one_of_several_arrays_is_taken_by_its_name(tmp_path: Path, name: str) -> None:
    np.testing.assert_array_equal(open_rows(written(tmp_path / name), "targets"), -ROWS)


def test_a_single_array_may_have_any_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "rows.npz", embeddings=ROWS)
    np.testing.assert_array_equal(open_rows(tmp_path / "rows.npz"), ROWS)


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".safetensors"])
@pytest.mark.parametrize("octets", [b"", b"PK\x03\x04", b"\x93NUMPY", bytes(64)])
def test_a_file_of_something_else_is_refused(tmp_path: Path, suffix: str, octets: bytes) -> None:
    (tmp_path / f"rows{suffix}").write_bytes(octets)
    with pytest.raises(Unacceptable, match=r"\.npy as numpy\.save") as refused:
        open_rows(tmp_path / f"rows{suffix}")
    assert refused.value.code == "malformed_npy"
