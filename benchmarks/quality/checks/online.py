"""Online: one pass over a stream in batches of 64, from a random start."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.quality import goals
from benchmarks.quality.learners import config, figures, learn, nn10, pca, vectors
from benchmarks.quality.target import CHECKS, Bench, Entry, Figures, Finding


@CHECKS.register("online")
def online(bench: Bench) -> Iterator[Entry]:
    """Fidelity and task without pairs, after one pass."""
    train, test, width = bench.splits.train, bench.splits.test, bench.splits.width
    for k in bench.components:
        found = [
            figures(learn(config(width, k, seed=seed), vectors(train, seed=seed)), test)
            for seed in bench.seeds
        ]
        worst = bench.worst_of_all(found)
        if bench.splits.is_public:
            yield Finding(what=f"k={k}: nn10", goal=goals.ONLINE_NN10[k], found=worst["nn10"])
        if bench.splits.is_public and k in goals.ONLINE_MRR:
            yield Finding(what=f"k={k}: mrr", goal=goals.ONLINE_MRR[k], found=worst["mrr"])
        if not bench.splits.is_public and 3 * k <= width and k <= 64:
            share = worst["nn10"] / nn10(pca(train.every, k), test)
            yield Finding(what=f"k={k}: nn10 as a share of PCA's", goal=1.0, found=share)
        yield Figures(table="recipe", of=f"one pass, k={k}", numbers=k, values=worst)
