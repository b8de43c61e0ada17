"""Shift: a stream that becomes another one halfway.

nn10 is of queries of one part among all held-out documents of its set, as everywhere: two parts of
one set share a corpus, two sets have one each.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import torch
from torch import Tensor

from app.training.metrics import neighbour_overlap, sampled_queries
from benchmarks.quality import goals
from benchmarks.quality.learners import config, learn, pca, vectors
from benchmarks.quality.splits import Pairs, Splits
from benchmarks.quality.target import CHECKS, Bench, Entry, Finding, NotMeasured

_K = 64


@CHECKS.register("shift")
def shift(bench: Bench) -> Iterator[Entry]:
    """Profiles after a shift, as shares of PCA fitted on both parts, and on the new one."""
    if bench.other is None and len(set(bench.splits.labels.get("train", ()))) < 2:
        yield NotMeasured(what=f"k={_K}", needs="two labels in `*_meta.json`, or --other")
        return
    if narrow := bench.too_narrow(_K):
        yield narrow
        return
    old, new = _parts(bench)
    corpora = [part.test.documents for part in (old, new)]
    if bench.other is None:
        corpora = [torch.cat(corpora)] * 2

    def kept(weight: Tensor) -> dict[str, float]:
        named = zip(("old", "new"), (old, new), corpora, strict=True)
        return {name: _nn10(weight, part.test.queries, corpus) for name, part, corpus in named}

    bars = kept(pca(torch.cat([old.train.every, new.train.every]), _K))
    newest = kept(pca(new.train.every, _K))["new"]
    found: dict[str, list[dict[str, float]]] = {"stable": [], "fast": []}
    for seed in bench.seeds:
        for profile, values in found.items():
            model = config(old.width, _K, seed=seed, distil={"profile": profile})
            stream = chain(vectors(old.train, seed=seed), vectors(new.train, seed=seed))
            values.append(kept(learn(model, stream)))
    for what, profile, part, bar, goal in (
        ("stable: old part, share of PCA of both", "stable", "old", bars["old"], goals.STABLE_OLD),
        ("stable: new part, share of PCA of both", "stable", "new", bars["new"], goals.STABLE_NEW),
        ("fast: new part, share of PCA of it alone", "fast", "new", newest, goals.FAST_NEW),
        ("fast: old part, share of PCA of both", "fast", "old", bars["old"], goals.FAST_OLD),
    ):
        worst = bench.worst_of(found[profile], part)
        yield Finding(what=f"k=64, {what}", goal=goal, found=worst / bar)


def _nn10(weight: Tensor, queries: Tensor, corpus: Tensor) -> float:
    some = queries[sampled_queries(len(queries))]
    return neighbour_overlap(some, corpus, some @ weight.mT, corpus @ weight.mT)


def _parts(bench: Bench) -> tuple[Splits, Splits]:
    if bench.other is not None:
        return bench.splits, bench.other
    every = sorted(set(bench.splits.labels.get("train", ())))
    return _of_labels(bench.splits, every[::2]), _of_labels(bench.splits, every[1::2])


def _of_labels(splits: Splits, labels: list[str]) -> Splits:
    chosen = {
        split: _chosen(getattr(splits, split), splits.labels[split], labels)
        for split in ("train", "test")
    }
    return Splits(train=chosen["train"], val=splits.val, test=chosen["test"], labels={}, digest="")


def _chosen(pairs: Pairs, given: list[str], wanted: list[str]) -> Pairs:
    is_wanted: Tensor = torch.tensor([label in set(wanted) for label in given])
    return pairs.chosen(is_wanted)
