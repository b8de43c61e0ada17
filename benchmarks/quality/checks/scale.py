"""Scale: neither the length of vectors nor their common direction may matter."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from benchmarks.quality import goals
from benchmarks.quality.learners import config, learn, nn10, vectors
from benchmarks.quality.splits import Pairs
from benchmarks.quality.target import CHECKS, Bench, Entry, Finding

_K = 64
# Token states of small encoders are about this long, and share a direction.
_LENGTH, _COMMON, _SPREAD = 13.0, 0.5, 0.2


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


@CHECKS.register("states")
def states(bench: Bench) -> Iterator[Entry]:
    """Raw token states, made up from the vectors: long, uneven, with a common direction."""
    if narrow := bench.too_narrow(_K):
        yield narrow
        return
    train, test = (as_states(pairs) for pairs in (bench.splits.train, bench.splits.test))
    bar = nn10(pca_of_raw(train.every, _K), test)
    for what, epochs, rows, goal in (
        ("online", 1, 64, goals.STATES_ONLINE),
        ("offline", goals.EPOCHS, goals.OFFLINE_ROWS, goals.STATES_OFFLINE),
    ):
        found = []
        for seed in bench.seeds:
            model = config(bench.splits.width, _K, seed=seed)
            weight = learn(model, vectors(train, seed=seed, rows=rows, epochs=epochs))
            found.append(nn10(weight, test) if torch.isfinite(weight).all() else float("nan"))
        yield Finding(
            what=f"k=64, {what}: finite, and nn10 as a share of PCA of the raw states",
            goal=goal,
            found=bench.worst(found) / bar,
        )


def as_states(pairs: Pairs) -> Pairs:
    """Vectors made like raw hidden states; not real ones."""
    generator = torch.Generator().manual_seed(0)
    width = pairs.queries.shape[1]
    common = torch.nn.functional.normalize(torch.randn(width, generator=generator), dim=0)

    def state(rows: Tensor) -> Tensor:
        moved = torch.nn.functional.normalize(rows, dim=1) + _COMMON * common
        lengths = (_SPREAD * torch.randn(len(rows), 1, generator=generator)).exp() * _LENGTH
        return lengths * moved

    return Pairs(state(pairs.queries), state(pairs.documents))


def pca_of_raw(rows: Tensor, k: int) -> Tensor:
    """Leading eigenvectors of the second moment of the rows at their own lengths."""
    moment = rows.double().mT @ rows.double()
    leading: Tensor = torch.linalg.eigh(moment).eigenvectors.mT.flip(0)[:k].float()
    return leading
