"""Rows to train on, from `.npy` files that are mapped, not read: memory stays flat."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.errors import Unacceptable
from app.types import Batch

_NUMBERS = "fiu"  # numpy's kinds: floats, integers
# What numpy raises about a header that is none, and about a file shorter than its header says.
_UNREADABLE = (ValueError, SyntaxError, TokenError)


class TrainingFile:
    """Batches of one file's rows, with the rows of a second file as targets.

    Args:
        path: `.npy`, shape (rows, input_size).
        targets: `.npy` with as many rows.
        batch_size: rows of each record but an epoch's last.
        epochs: how often the file is gone through.

    Raises:
        Unacceptable: a file cannot be used.
    """

    def __init__(
        self, path: Path, targets: Path | None = None, *, batch_size: int, epochs: int = 1
    ) -> None:
        self._hidden_states = _open(path)
        self._targets = None if targets is None else _open(targets)
        if self._targets is not None and len(self._targets) != len(self._hidden_states):
            raise Unacceptable(
                "target_shape_mismatch",
                f"expected as many rows of targets as of hidden_states, got {len(self._targets)} "
                f"and {len(self._hidden_states)}",
            )
        self._batch_size = batch_size
        self._epochs = epochs
        self._records_an_epoch = -(-len(self._hidden_states) // batch_size)
        self.num_rows = epochs * len(self._hidden_states)

    def __iter__(self) -> Iterator[Batch]:
        """The batches in the order of the rows, epoch after epoch."""
        for _ in range(self._epochs):
            for record in range(1, self._records_an_epoch + 1):
                rows = self.rows_of(record)
                yield Batch(
                    hidden_states=self._hidden_states[rows],
                    targets=None if self._targets is None else self._targets[rows],
                )

    def rows_of(self, record: int) -> slice:
        """Where in the file the rows of a record stand."""
        begin = (record - 1) % self._records_an_epoch * self._batch_size
        return slice(begin, min(begin + self._batch_size, len(self._hidden_states)))

    def rows_until(self, record: int) -> int:
        """How many rows the records up to this one hold."""
        epochs, rest = divmod(record, self._records_an_epoch)
        num_rows = len(self._hidden_states)
        return epochs * num_rows + min(rest * self._batch_size, num_rows)


def _open(path: Path) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.lib.format.open_memmap(path, mode="r")
    except OSError as error:
        raise Unacceptable(
            "malformed_npy", f"expected a file to read at {path}: {error.strerror}"
        ) from None
    except _UNREADABLE:
        raise _unusable(path, "something else or a part of one") from None
    if array.dtype.kind not in _NUMBERS:
        raise _unusable(path, "values of another kind")
    if array.ndim < 2 or not array.size:
        raise _unusable(path, f"the shape {array.shape}")
    return array


def _unusable(path: Path, found: str) -> Unacceptable:
    return Unacceptable(
        "malformed_npy",
        f"expected {path} to be an .npy file of numbers with shape (rows, width), as numpy.save "
        f"writes it, got {found}",
    )
