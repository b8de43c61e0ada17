"""Scale: the length of vectors may not matter."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.quality import goals
from benchmarks.quality.learners import config, learn, nn10, vectors
from benchmarks.quality.target import CHECKS, Bench, Entry, Finding

_K = 64


@CHECKS.register("scale")
def scale(bench: Bench) -> Iterator[Entry]:
    """The same stream at other lengths."""
    if narrow := bench.too_narrow(_K):
        yield narrow
        return
    train, test, width = bench.splits.train, bench.splits.test, bench.splits.width
    spreads = []
    for seed in bench.seeds:
        found = [
            nn10(learn(config(width, _K, seed=seed), vectors(train.scaled(s), seed=seed)), test)
            for s in goals.SCALES
        ]
        spreads.append(max(found) - min(found))
    yield Finding(
        what="k=64, times 0.01, 1 and 30: nn10 differs by",
        goal=goals.SCALE_SPREAD,
        found=max(spreads),
        is_most=True,
    )
