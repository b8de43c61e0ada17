"""Shift: a stream that becomes another one halfway."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import torch
from torch import Tensor

from benchmarks.quality import goals
from benchmarks.quality.learners import config, learn, nn10, pca, vectors
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
    both = pca(torch.cat([old.train.every, new.train.every]), _K)
    newest = nn10(pca(new.train.every, _K), new.test)
    bars = {"old": nn10(both, old.test), "new": nn10(both, new.test)}
    found: dict[str, list[dict[str, float]]] = {"stable": [], "fast": []}
    for seed in bench.seeds:
        for profile, values in found.items():
            model = config(old.width, _K, seed=seed, distil={"profile": profile})
            stream = chain(vectors(old.train, seed=seed), vectors(new.train, seed=seed))
            weight = learn(model, stream)
            values.append({"old": nn10(weight, old.test), "new": nn10(weight, new.test)})
    for what, profile, part, bar, goal in (
        ("stable: old part, share of PCA of both", "stable", "old", bars["old"], goals.STABLE_OLD),
        ("stable: new part, share of PCA of both", "stable", "new", bars["new"], goals.STABLE_NEW),
        ("fast: new part, share of PCA of it alone", "fast", "new", newest, goals.FAST_NEW),
        ("fast: old part, share of PCA of both", "fast", "old", bars["old"], goals.FAST_OLD),
    ):
        worst = bench.worst_of(found[profile], part)
        yield Finding(what=f"k=64, {what}", goal=goal, found=worst / bar)


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
