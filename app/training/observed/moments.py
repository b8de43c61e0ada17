"""Running moments of unit vectors: how many, their sum, their uncentred second moment."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from app.training.observed.rows import Rows

# Widths above this one keep their second moment in float32: 134 MB at 4,096, half of float64's.
WIDEST_DOUBLE = 2048
# A moment of 384 x 384 is 1.2 MB: it changes, and is digested, once in so many rows.
_PENDING_ROWS = 512
# Rows that are multiplied at once: bounds the memory of their float64 copy.
_CHUNK_ROWS = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class OuterSum:
    """The sum of x xᵀ over the rows x that came; immutable.

    Attributes:
        count: how many rows came.
        products: the sum over those that are not pending, (width, width); empty before the first.
        pending: the newest rows, added to `products` when there are enough of them.
    """

    count: int
    products: Rows
    pending: Rows

    @classmethod
    def empty(cls, width: int) -> OuterSum:
        """Nothing added yet."""
        return cls(
            count=0,
            products=Rows(width=width, dtype=moment_dtype(width)),
            pending=Rows(width=width),
        )

    @classmethod
    def of(cls, products: Tensor, count: int) -> OuterSum:
        """A known sum over `count` rows.

        Shape: products (width, width).
        """
        width = len(products)
        known = products.detach().to("cpu", moment_dtype(width)).clone()
        return cls(count=count, products=Rows.of(known), pending=Rows(width=width))

    def extended(self, rows: Tensor) -> OuterSum:
        """After more rows (count, width), on the CPU."""
        count = self.count + len(rows)
        if self.pending.count + len(rows) < _PENDING_ROWS:
            pending = self.pending.appended(rows)
            return OuterSum(count=count, products=self.products, pending=pending)
        # Not through pending: a batch may be much larger than that.
        total = self.total()
        total += _outer(rows, total.dtype)
        return OuterSum(
            count=count, products=Rows.of(total), pending=Rows(width=self.pending.width)
        )

    def total(self) -> Tensor:
        """The sum over all rows, (width, width), in memory of its own."""
        dtype, width = self.products.dtype, self.products.width
        total = self.products.tensor() if self.products.count else torch.zeros(width, width)
        return total.to(dtype) + _outer(self.pending.tensor(), dtype)

    def mean(self) -> Tensor:
        """The uncentred second moment E[x xᵀ], (width, width); zeros before the first row."""
        return self.total() / max(self.count, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """Running moments of unit vectors, none of them centred; immutable.

    Attributes:
        sum: of the vectors, (1, width) in float64.
        second: of the vectors, C = E[x xᵀ].
        pairs: of half the differences of pairs, W = E[(q - d)(q - d)ᵀ] / 4.
    """

    sum: Rows
    second: OuterSum
    pairs: OuterSum

    @classmethod
    def empty(cls, width: int) -> Moments:
        """Nothing seen yet."""
        return cls(
            sum=Rows.of(torch.zeros(1, width, dtype=torch.float64)),
            second=OuterSum.empty(width),
            pairs=OuterSum.empty(width),
        )

    @property
    def count(self) -> int:
        """How many vectors were seen."""
        return self.second.count

    def extended(self, vectors: Tensor, half_differences: Tensor | None = None) -> Moments:
        """After more unit vectors.

        Args:
            vectors: (count, width), on the CPU; of pairs, both sides.
            half_differences: (q - d) / 2 of the pairs among them.
        """
        pairs = self.pairs
        return Moments(
            sum=Rows.of(self.sum.tensor() + vectors.sum(dim=0, dtype=torch.float64)),
            second=self.second.extended(vectors),
            pairs=pairs if half_differences is None else pairs.extended(half_differences),
        )


def moment_dtype(width: int) -> torch.dtype:
    """Of the second moment of vectors of this width."""
    return torch.float64 if width <= WIDEST_DOUBLE else torch.float32


def _outer(rows: Tensor, dtype: torch.dtype) -> Tensor:
    """The sum of x xᵀ over rows, at bounded memory."""
    total = torch.zeros(rows.shape[1], rows.shape[1], dtype=dtype)
    for chunk in torch.split(rows, _CHUNK_ROWS):
        exact = chunk.to(dtype)
        total.addmm_(exact.mT, exact)
    return total
