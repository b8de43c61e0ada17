"""Offline: several epochs over the same vectors."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.quality import goals
from benchmarks.quality.learners import config, figures, learn, paired, pca, vectors
from benchmarks.quality.target import CHECKS, Bench, Entry, Figures, Finding

# Offline nothing has to be ready after the first vectors, and every dimension may be trained.
_TASK_WEIGHT = 30.0


@CHECKS.register("offline")
def offline(bench: Bench) -> Iterator[Entry]:
    """Fidelity and task without pairs, after several epochs."""
    train, test, width = bench.splits.train, bench.splits.test, bench.splits.width
    for k in bench.components:
        found = []
        for seed in bench.seeds:
            model = config(width, k, seed=seed)
            batches = vectors(train, seed=seed, rows=goals.OFFLINE_ROWS, epochs=goals.EPOCHS)
            found.append(figures(learn(model, batches), test))
        worst, bar = bench.worst_of_all(found), figures(pca(train.every, k), test)
        ratio = worst["nn10"] / bar["nn10"]
        yield Finding(
            what=f"k={k}: nn10 as a share of PCA's", goal=goals.OFFLINE_RATIO[k], found=ratio
        )
        if bench.splits.is_public:
            yield Finding(what=f"k={k}: nn10", goal=goals.OFFLINE_NN10[k], found=worst["nn10"])
            yield Finding(what=f"k={k}: mrr", goal=goals.OFFLINE_MRR[k], found=worst["mrr"])
        yield Figures(table="PCA", of=f"PCA, k={k}", numbers=k, values=bar)
        yield Figures(table="recipe", of=f"several epochs, k={k}", numbers=k, values=worst)


@CHECKS.register("offline-pairs")
def offline_pairs(bench: Bench) -> Iterator[Entry]:
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
        worst = {dial: bench.worst_of_all(of) for dial, of in found.items()}
        if k <= limit:
            kept = worst["balanced"]["nn10"] / bar["nn10"]
            yield Finding(what=f"k={k}, balanced: nn10 as a share of PCA's", goal=1.0, found=kept)
        mrr = {dial: of["mrr"] for dial, of in worst.items()}
        yield from _mrr(k, mrr, bar["mrr"], is_public=bench.splits.is_public)
        for dial, of in worst.items():
            yield Figures(table=dial, of=f"{dial}, k={k}", numbers=k, values=of)


def _mrr(k: int, mrr: dict[str, float], bar: float, *, is_public: bool) -> Iterator[Finding]:
    known = {"balanced": goals.PAIRED_MRR[k], "task": goals.TASK_MRR[k]}
    for dial, value in mrr.items():
        # Elsewhere no figure is known: pairs have to gain something over PCA.
        goal = known[dial] if is_public else bar
        yield Finding(what=f"k={k}, {dial}: mrr", goal=goal, found=value)
