"""How sure a mean over sampled queries is."""

from __future__ import annotations

import math

from torch import Tensor


def mean_interval(shares: Tensor, *, z: float = 1.959964) -> tuple[float, float]:
    """Where the mean of all queries' shares lies, by the score interval of a sample of them.

    Wilson's interval, `(p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n)`, with the number of
    yes-or-no answers that would be as sure as the sample, `n = count · p (1-p) / variance`: a share
    of ten neighbours varies less than an answer does. Never outside 0 to 1, and not a point when
    every share is 0 or every one 1.

    Args:
        shares: from 0 to 1, one for each sampled query, at least one.
        z: how many standard errors; as it stands, 95 % of intervals hold the mean.

    Shape: shares (queries,); returns (low, high).
    """
    values = shares.double()
    p, count = float(values.mean()), len(values)
    variance, spread = float(values.var(correction=0)), p * (1 - p)
    n = count * spread / variance if variance > 0 and spread > 0 else float(count)
    middle = p + z * z / (2 * n)
    reach = z * math.sqrt(spread / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return max(0.0, (middle - reach) / scale), min(1.0, (middle + reach) / scale)
