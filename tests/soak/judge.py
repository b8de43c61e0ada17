"""What is flat, and what grows: the judgement of a soak, and of its control."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Of the run; caches, pools and the table of keys fill up in it.
_WARM_UP = 0.3

# A leak of the control is 1,024 bytes a request.
MAX_BYTES_A_REQUEST = 160.0
MAX_RISE = 3.0
MIN_SAMPLES = 20

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What a server holds at one moment, while nobody asks anything of it.

    Attributes:
        requests: that were answered so far.
        memory_bytes: that are its own: anonymous pages, in memory or swapped out.
        disk_bytes: of its models directory.
    """

    elapsed_s: float
    requests: int
    memory_bytes: int
    descriptors: int
    threads: int
    disk_bytes: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """One property: its level after the warm-up and at the end, its measure, and the limit."""

    name: str
    first: float
    last: float
    measure: float
    limit: float
    unit: str

    @property
    def is_met(self) -> bool:
        """Whether it stays within its limit."""
        return self.measure <= self.limit


def judge(samples: Sequence[Sample], *, max_disk_bytes: int) -> list[Verdict]:
    """Every property of a run, in the order of the table.

    Memory is judged by its slope over the requests that were answered, so that a leak is the same
    number at any speed; descriptors and threads by what they rise by over the run. Both slopes are
    the median of the slopes between all pairs of samples (Theil and Sen), which neither a sawtooth
    nor single peaks move. Disk is judged by its highest level.
    """
    settled = settle(samples)
    if len(settled) < MIN_SAMPLES:
        raise ValueError(f"expected at least {MIN_SAMPLES} samples after the warm-up; run longer")
    elapsed = _column(settled, "elapsed_s")
    memory = _column(settled, "memory_bytes")
    disk = _column(settled, "disk_bytes")
    bytes_a_request = slope(_column(settled, "requests"), memory)
    verdicts = [
        Verdict("memory", *_ends(memory), bytes_a_request, MAX_BYTES_A_REQUEST, "B/request")
    ]
    for name in ("descriptors", "threads"):
        level = _column(settled, name)
        rise = slope(elapsed, level) * float(elapsed[-1] - elapsed[0])
        verdicts.append(Verdict(name, *_ends(level), rise, MAX_RISE, "more"))
    highest = float(disk.max())
    verdicts.append(Verdict("disk", *_ends(disk), highest, float(max_disk_bytes), "B at most"))
    return verdicts


def settle(samples: Sequence[Sample]) -> list[Sample]:
    """The samples after the warm-up."""
    end_s = samples[-1].elapsed_s if samples else 0.0
    return [sample for sample in samples if sample.elapsed_s >= _WARM_UP * end_s]


def slope(x: Numbers, y: Numbers) -> float:
    """The median slope between all pairs of points.

    Source: Sen 1968, «Estimates of the regression coefficient based on Kendall's tau».
    """
    i, j = np.triu_indices(len(x), k=1)
    run = x[j] - x[i]
    is_apart = run > 0
    return float(np.median((y[j] - y[i])[is_apart] / run[is_apart]))


def _column(samples: Sequence[Sample], name: str) -> Numbers:
    return np.array([getattr(sample, name) for sample in samples], np.float64)


def _ends(level: Numbers) -> tuple[float, float]:
    """The median level of the first and of the last fifth."""
    fifth = max(1, len(level) // 5)
    return float(np.median(level[:fifth])), float(np.median(level[-fifth:]))
