"""When eigenvectors are worth computing again."""

from __future__ import annotations

import math

# A moment that grew by less has hardly other eigenvectors.
_GROWTH = 1.01
# The time of an eigendecomposition grows with the cube of the width: 20 ms at 384, 0.3 s at 1,024
# (measured, one CPU thread). Wider models take them less often.
_WIDTH_OF_ONE_PER_CENT = 384 / 0.01


def grown(*, before: int, after: int, width: int) -> float:
    """By which factor a moment of `after` vectors, `before` of them known the last time, has grown.

    A function of the counts alone, in whole powers of the growth: 1.01 up to a width of 384, and by
    as many times more for wider vectors. 1 while none was passed: not worth a look; of a moment
    that was not known, infinity.

    >>> [round(grown(before=n, after=1000, width=384), 2) for n in (999, 995, 900, 0)]
    [1.0, 1.01, 1.12, inf]
    """
    if not before:
        return math.inf
    growth = math.log(max(_GROWTH, 1 + width / _WIDTH_OF_ONE_PER_CENT))
    return math.exp(growth * (int(math.log(after) / growth) - int(math.log(before) / growth)))
