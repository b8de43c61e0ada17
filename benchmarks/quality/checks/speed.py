"""Speed of learning: how soon the stream's map is as good as PCA fitted on all of it."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from benchmarks.quality import goals
from benchmarks.quality.learners import BATCH_ROWS, config, learn, nn10, pca, vectors
from benchmarks.quality.target import CHECKS, Bench, Entry, Finding

_BATCH_COMPONENTS = 64


@CHECKS.register("speed")
def speed(bench: Bench) -> Iterator[Entry]:
    """Shares of full-batch PCA's nn10 on the way and at the end."""
    for k in (k for k in goals.SPEED_COMPONENTS if k in bench.components):
        yield from _findings(bench, k, f"k={k}")
    if narrow := bench.too_narrow(_BATCH_COMPONENTS):
        yield narrow
        return
    for rows in goals.BATCHES:
        if rows != BATCH_ROWS:
            yield from _findings(bench, _BATCH_COMPONENTS, f"k=64, batches of {rows}", rows=rows)


@CHECKS.register("optimizers")
def optimizers(bench: Bench) -> Iterator[Entry]:
    """The same for every optimizer, at 64 components."""
    if narrow := bench.too_narrow(_BATCH_COMPONENTS):
        yield narrow
        return
    for name, optimizer in goals.OPTIMIZERS.items():
        yield from _findings(bench, _BATCH_COMPONENTS, f"k=64, {name}", optimizer=optimizer)


def _findings(
    bench: Bench,
    k: int,
    what: str,
    *,
    rows: int = BATCH_ROWS,
    optimizer: dict[str, object] | None = None,
) -> Iterator[Finding]:
    train, test = bench.splits.train, bench.splits.test
    bar = nn10(pca(train.every, k), test)
    document = {} if optimizer is None else {"optimizer": optimizer}
    shares: dict[int, list[float]] = {mark: [] for mark in goals.SPEED}
    ends = []
    for seed in bench.seeds:
        model = config(bench.splits.width, k, seed=seed, **document)
        reached: dict[int, Tensor] = {}

        def watch(seen: int, weight: Tensor, reached: dict[int, Tensor] = reached) -> None:
            for mark in goals.SPEED:
                if seen <= mark:
                    reached[mark] = weight

        end = learn(model, vectors(train, seed=seed, rows=rows), watch=watch)
        for mark, weight in reached.items():
            shares[mark].append(nn10(weight, test) / bar)
        ends.append(nn10(end, test) / bar)
    for mark, goal in goals.SPEED.items():
        if mark <= len(train.every):
            yield Finding(
                what=f"{what}: share of PCA after {mark:,} vectors",
                goal=goal,
                found=bench.worst(shares[mark]),
            )
    if k <= _BATCH_COMPONENTS:
        yield Finding(what=f"{what}: share of PCA at the end", goal=1.0, found=bench.worst(ends))
