"""Frontier: what each weight of the pairs gains for the task, and what it costs."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.quality.curves import FRONTIER_AT, frontier
from benchmarks.quality.learners import figures, pca
from benchmarks.quality.target import CHECKS, Bench, Entry, Figures


@CHECKS.register("frontier")
def frontiers(bench: Bench) -> Iterator[Entry]:
    """Weights of the pairs after one pass, judged by validation pairs; no targets, one seed."""
    splits = bench.splits
    for k in FRONTIER_AT:
        if narrow := bench.too_narrow(k):
            yield narrow
            continue
        if k not in bench.components:
            continue
        bar = figures(pca(splits.train.every, k), splits.val)
        lines = {
            "PCA": bar,
            **{f"weight {w:g}": of for w, of in frontier(splits, k, bench.seeds[0])},
        }
        for name, of in lines.items():
            values = {metric: of[metric] for metric in ("nn10", "mrr")}
            yield Figures(table=f"{k} components", of=name, numbers=k, values=values)
