"""How narrow a map is: what it keeps of its input decides how it learns best."""

from __future__ import annotations

# Parts of the input that a map keeps. Up to a quarter neighbours have to be learned, from a third
# on eigenvectors keep nearly all of them, and large steps lead away from a good start.
_NARROW, _WIDE = 1 / 4, 1 / 3


def narrowness(share: float) -> float:
    """1 for a map that keeps up to a quarter of its input, 0 from a third on, a line between.

    >>> [round(narrowness(k / 384), 2) for k in (16, 96, 112, 128, 192)]
    [1.0, 1.0, 0.5, 0.0, 0.0]
    """
    return min(1.0, max(0.0, (_WIDE - share) / (_WIDE - _NARROW)))


def is_wide(share: float) -> bool:
    """Whether a map keeps more than a third of its input."""
    return share > _WIDE
