"""Rows from a file of arrays: `.npy` (mapped, not read), `.npz`, `.safetensors`."""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from pathlib import Path
from tokenize import TokenError
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from app.codecs import unpack
from app.errors import ArtifactInvalid, Unacceptable

_NUMBERS = "fiu"  # numpy's kinds: floats, integers
# What numpy raises about a header that is none, and about a file shorter than its header says.
_UNREADABLE = (ValueError, SyntaxError, TokenError, EOFError, BadZipFile, KeyError)


def open_rows(path: Path, name: str = "hidden_states", *, dimensions: int = 2) -> NDArray[Any]:
    """The rows of a file, shape (rows, width) or with more dimensions a row.

    Args:
        path: `.npy`, or `.npz` or `.safetensors`.
        name: which array of a file of several; one that holds a single array is not asked for it.
        dimensions: how many the array has at least; 1 for a number a row.

    Raises:
        Unacceptable: `malformed_npy`: not there, damaged, or no rows of numbers.
    """
    readers = {".npz": _open_npz, ".safetensors": _open_safetensors}
    try:
        found = readers.get(path.suffix, _open_npy)(path)
    except OSError as error:
        raise Unacceptable(
            "malformed_npy", f"expected a file to read at {path}: {error.strerror}"
        ) from None
    except (*_UNREADABLE, ArtifactInvalid):
        raise _unusable(path, "something else or a part of one") from None
    array = next(iter(found.values())) if len(found) == 1 else found.get(name)
    if array is None:
        raise _unusable(path, f"{len(found)} arrays, none of them named {name}")
    if array.dtype.kind not in _NUMBERS:
        raise _unusable(path, "values of another kind")
    if array.ndim < dimensions or not array.size:
        raise _unusable(path, f"the shape {array.shape}")
    return array


def _open_npy(path: Path) -> Mapping[str, NDArray[Any]]:
    return {"": np.lib.format.open_memmap(path, mode="r")}


def _open_npz(path: Path) -> Mapping[str, NDArray[Any]]:
    # numpy leaves a file that it cannot read open when it opened it itself.
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return dict(arrays)


def _open_safetensors(path: Path) -> Mapping[str, NDArray[Any]]:
    with path.open("rb") as file:
        arrays, _ = unpack(memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)))
    return arrays


def _unusable(path: Path, found: str) -> Unacceptable:
    return Unacceptable(
        "malformed_npy",
        f"expected {path} to be a file of numbers with shape (rows, width): .npy as numpy.save "
        f"writes it, .npz or .safetensors, got {found}",
    )
