"""Offline: several epochs over the same vectors."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from benchmarks.quality import goals
from benchmarks.quality.learners import config, figures, learn, nn10, paired, pca, vectors
from benchmarks.quality.target import CHECKS, Bench, Finding

# Offline nothing has to be ready after the first vectors, and every dimension may be trained.
_TASK_WEIGHT = 30.0


@CHECKS.register("offline")
def offline(bench: Bench) -> Iterator[Finding]:
    """Fidelity and task without pairs, after several epochs."""
    train, test, width = bench.splits.train, bench.splits.test, bench.splits.width
    for k in bench.components:
        found = []
        for seed in bench.seeds:
            model = config(width, k, seed=seed)
            batches = vectors(train, seed=seed, rows=goals.OFFLINE_ROWS, epochs=goals.EPOCHS)
            found.append(figures(learn(model, batches), test))
        worst = partial(bench.worst_of, found)
        ratio = worst("nn10") / nn10(pca(train.every, k), test)
        yield Finding(
            what=f"k={k}: nn10 as a share of PCA's", goal=goals.OFFLINE_RATIO[k], found=ratio
        )
        if bench.splits.is_public:
            yield Finding(what=f"k={k}: nn10", goal=goals.OFFLINE_NN10[k], found=worst("nn10"))
            yield Finding(what=f"k={k}: mrr", goal=goals.OFFLINE_MRR[k], found=worst("mrr"))


@CHECKS.register("offline-pairs")
def offline_pairs(bench: Bench) -> Iterator[Finding]:
    """The balanced dial and the task, with pairs, after several epochs."""
    train, test, width = bench.splits.train, bench.splits.test, bench.splits.width
    limit = goals.PAIRED_UP_TO_PUBLIC if bench.splits.is_public else goals.PAIRED_UP_TO
    for k in bench.components:
        bar = figures(pca(train.every, k), test)
        found: dict[str, list[dict[str, float]]] = {"balanced": [], "task": []}
        for seed in bench.seeds:
            for dial, weight in {"balanced": 0.3, "task": _TASK_WEIGHT}.items():
                model = config(width, k, seed=seed, distil={"pair_weight": weight})
                batches = paired(train, seed=seed, rows=goals.OFFLINE_ROWS, epochs=goals.EPOCHS)
                found[dial].append(figures(learn(model, batches), test))
        mrr = {dial: bench.worst_of(of, "mrr") for dial, of in found.items()}
        if k <= limit:
            kept = bench.worst_of(found["balanced"], "nn10") / bar["nn10"]
            yield Finding(what=f"k={k}, balanced: nn10 as a share of PCA's", goal=1.0, found=kept)
        yield from _mrr(k, mrr, bar["mrr"], is_public=bench.splits.is_public)


def _mrr(k: int, mrr: dict[str, float], bar: float, *, is_public: bool) -> Iterator[Finding]:
    known = {"balanced": goals.PAIRED_MRR[k], "task": goals.TASK_MRR[k]}
    for dial, value in mrr.items():
        # Elsewhere no figure is known: pairs have to gain something over PCA.
        goal = known[dial] if is_public else bar
        yield Finding(what=f"k={k}, {dial}: mrr", goal=goal, found=value)
