"""When eigenvectors are worth computing again."""

from __future__ import annotations

import math

# A moment that grew by less has hardly other eigenvectors.
_GROWTH = 1.01
# The time of an eigendecomposition grows with the cube of the width: 20 ms at 384, 0.3 s at 1,024
# (measured, one CPU thread). Wider models take them less often.
_WIDTH_OF_ONE_PER_CENT = 384 / 0.01


def is_due(*, before: int, after: int, width: int) -> bool:
    """Whether a moment of `after` vectors, `before` of them known the last time, is looked at.

    A function of the counts alone: due when the count passes a power of the growth, 1.01 up to a
    width of 384, and by as many times more for wider vectors.
    """
    growth = math.log(max(_GROWTH, 1 + width / _WIDTH_OF_ONE_PER_CENT))
    return not before or int(math.log(after) / growth) > int(math.log(before) / growth)
