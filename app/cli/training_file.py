"""Rows to train on, from files of arrays; `.npy` ones are mapped, so that memory stays flat."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from app.cli.array_file import open_rows
from app.errors import Unacceptable
from app.types import Batch

# What has one number for each row.
_NUMBERS = frozenset({"labels", "sample_weights"})


class TrainingFile:
    """Batches of one file's rows, with the rows of other files beside them.

    Args:
        path: shape (rows, input_size); see `open_rows`.
        beside: the other fields of a batch, each from a file with as many rows.
        batch_size: rows of each record but an epoch's last.
        epochs: how often the file is gone through.

    Raises:
        Unacceptable: a file cannot be used.
    """

    def __init__(
        self,
        path: Path,
        beside: Mapping[str, Path] | None = None,
        *,
        batch_size: int,
        epochs: int = 1,
    ) -> None:
        self._arrays = {"hidden_states": open_rows(path)}
        for name, other in (beside or {}).items():
            self._arrays[name] = open_rows(other, name, dimensions=1 if name in _NUMBERS else 2)
        self._num_rows = len(self._arrays["hidden_states"])
        for name, array in self._arrays.items():
            if len(array) != self._num_rows:
                raise Unacceptable(
                    "shape_mismatch",
                    f"expected as many rows of {name} as of hidden_states, got {len(array)} and "
                    f"{self._num_rows}",
                )
        self._batch_size = batch_size
        self._epochs = epochs
        self._records_an_epoch = -(-self._num_rows // batch_size)
        self.num_rows = epochs * self._num_rows

    @property
    def width(self) -> int:
        """The last dimension of the rows."""
        width: int = self._arrays["hidden_states"].shape[-1]
        return width

    def __iter__(self) -> Iterator[Batch]:
        """The batches in the order of the rows, epoch after epoch."""
        for _ in range(self._epochs):
            for record in range(1, self._records_an_epoch + 1):
                rows = self.rows_of(record)
                yield Batch(**{name: array[rows] for name, array in self._arrays.items()})

    def rows_of(self, record: int) -> slice:
        """Where in the file the rows of a record stand."""
        begin = (record - 1) % self._records_an_epoch * self._batch_size
        return slice(begin, min(begin + self._batch_size, self._num_rows))

    def rows_until(self, record: int) -> int:
        """How many rows the records up to this one hold."""
        epochs, rest = divmod(record, self._records_an_epoch)
        return epochs * self._num_rows + min(rest * self._batch_size, self._num_rows)
