"""Which rows a comparison learns from, and which it measures on: never the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from app.errors import Unacceptable

_FEWEST_HELD_OUT = 20
_FEWEST_LEARNED = 64


@dataclass(frozen=True, slots=True)
class Vectors:
    """Rows, and for each its partner, where there are pairs.

    Shape: hidden_states (rows, input_size); positives the same.
    """

    hidden_states: Tensor
    positives: Tensor | None

    @property
    def every(self) -> Tensor:
        """All vectors, those of pairs below each other."""
        if self.positives is None:
            return self.hidden_states
        return torch.cat([self.hidden_states, self.positives])


@dataclass(frozen=True, slots=True)
class Division:
    """Rows to learn from and rows to measure on."""

    learned: Vectors
    held_out: Vectors

    @property
    def input_size(self) -> int:
        """Width of the vectors."""
        return self.learned.hidden_states.shape[1]


def divide(
    hidden_states: NDArray[Any], positives: NDArray[Any] | None, *, share: float, seed: int
) -> Division:
    """Divide rows at random, pairs together; the same rows and seed give the same division.

    Args:
        hidden_states: (rows, input_size), of any numeric type.
        positives: row i is the partner of row i.
        share: of the rows, from 0 to 1, to measure on.
        seed: of the order.

    Raises:
        Unacceptable: `shape_mismatch`: no vectors, or pairs of another shape; `out_of_range`: too
            few rows; `non_finite_input`.
    """
    if hidden_states.ndim != 2:
        raise Unacceptable(
            "shape_mismatch",
            f"expected one vector a row, shape (rows, width), got {list(hidden_states.shape)}",
        )
    if positives is not None and positives.shape != hidden_states.shape:
        raise Unacceptable(
            "shape_mismatch",
            f"expected pairs of the same shape as the rows, {list(hidden_states.shape)}, got "
            f"{list(positives.shape)}",
        )
    rows = len(hidden_states)
    num_held_out = round(share * rows)
    if num_held_out < _FEWEST_HELD_OUT or rows - num_held_out < _FEWEST_LEARNED:
        raise Unacceptable(
            "out_of_range",
            f"expected at least {_FEWEST_HELD_OUT} rows to measure on and {_FEWEST_LEARNED} to "
            f"learn from, got {num_held_out} and {rows - num_held_out}; give more rows, or another "
            "share to hold out",
        )
    order = np.random.default_rng(seed).permutation(rows)
    return Division(
        _taken(hidden_states, positives, order[num_held_out:]),
        _taken(hidden_states, positives, order[:num_held_out]),
    )


def _taken(
    hidden_states: NDArray[Any], positives: NDArray[Any] | None, rows: NDArray[np.int64]
) -> Vectors:
    partners = None if positives is None else _tensor(positives[rows])
    return Vectors(_tensor(hidden_states[rows]), partners)


def _tensor(rows: NDArray[Any]) -> Tensor:
    tensor = torch.from_numpy(rows.astype(np.float32))
    if not torch.isfinite(tensor).all():
        raise Unacceptable(
            "non_finite_input",
            "expected finite numbers in the range of float32; remove the rows with others",
        )
    return tensor
