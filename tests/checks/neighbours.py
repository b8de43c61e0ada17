"""The nearest ten, found the slow way."""

from __future__ import annotations

from torch import Tensor


def neighbours_by_hand(vectors: Tensor) -> list[set[int]]:
    """Rows of the ten others of largest cosine, for each row."""
    units = vectors / vectors.norm(dim=1, keepdim=True)
    cosines = (units @ units.mT).fill_diagonal_(-2)
    return [set(row.argsort(descending=True)[:10].tolist()) for row in cosines]


def kept_by_hand(rows: Tensor, weight: Tensor, queries: int | None = None) -> float:
    """Share of them that a weight keeps, over all rows or over so many of the first."""
    full, reduced = neighbours_by_hand(rows), neighbours_by_hand(rows @ weight.mT)
    kept = [len(a & b) for a, b in zip(full, reduced, strict=True)][:queries]
    return sum(kept) / (10 * len(kept))
