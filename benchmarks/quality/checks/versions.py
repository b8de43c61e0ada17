"""Versions: whether vectors of an older version can be searched by those of a newer one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from app.training.subspace import rotated_onto
from benchmarks.quality import goals
from benchmarks.quality.learners import config, figures, learn, vectors
from benchmarks.quality.splits import Pairs, Splits
from benchmarks.quality.target import CHECKS, Bench, Entry, Finding, NotMeasured

_K = 64
_EARLY = 2048
_ANCHORS = 4096
# More than any stream: the weights stay eigenvectors.
_FOR_EVER = 1_000_000_000


@CHECKS.register("versions")
def versions(bench: Bench) -> Iterator[Entry]:
    """A corpus of the version after 2,048 vectors, searched by the last version."""
    if narrow := bench.too_narrow(_K):
        yield narrow
        return
    if len(bench.splits.train.every) <= _EARLY:
        yield NotMeasured(what=f"k={_K}", needs=f"more than {_EARLY:,} vectors to learn from")
        return
    test, rows = bench.splits.test, bench.splits.train.every
    moment = _moment(rows)
    kept, refitted, differences = [], [], []
    for seed in bench.seeds:
        early, late = _versions(bench.splits, seed)
        kept.append(_mix(early, late, test) / _mix(early, early, test))
        aligned = [
            _mix(early, rotated_onto(late.double(), early, moment).float(), test),
            _mix(early, _by_anchors(late, early, rows[:_ANCHORS]), test),
        ]
        differences.append(aligned[0] - aligned[1])
        early, late = _versions(bench.splits, seed, distil={"warm_up": _FOR_EVER})
        refitted.append(_mix(early, late, test) / _mix(early, early, test))
    yield Finding(
        what="k=64: raw mix as a share of old on old", goal=goals.RAW_MIX, found=bench.worst(kept)
    )
    yield Finding(
        what="k=64, eigenvectors refitted and gauge-fixed: raw mix as a share of old on old",
        goal=goals.REFIT_MIX,
        found=bench.worst(refitted),
    )
    yield Finding(
        what="k=64: aligned by moments, nn10 above aligned by 4,096 anchors",
        goal=-goals.ALIGNMENT,
        found=bench.worst(differences),
    )


def _versions(splits: Splits, seed: int, **document: Any) -> tuple[Tensor, Tensor]:
    """The weight after the first vectors, and the one at the end."""
    early: list[Tensor] = []

    def watch(seen: int, weight: Tensor) -> None:
        if seen >= _EARLY and not early:
            early.append(weight)

    model = config(splits.width, _K, seed=seed, **document)
    late = learn(model, vectors(splits.train, seed=seed), watch=watch)
    return early[0], late


def _mix(corpus: Tensor, queries: Tensor, held_out: Pairs) -> float:
    return figures(queries, held_out, corpus_weight=corpus)["nn10"]


def _moment(rows: Tensor) -> Tensor:
    unit = torch.nn.functional.normalize(rows.double(), dim=1)
    return unit.mT @ unit / len(unit)


def _by_anchors(late: Tensor, early: Tensor, anchors: Tensor) -> Tensor:
    """The late map, rotated so that the anchors' reduced vectors are nearest to the early ones'."""
    return rotated_onto(late.double(), early, _moment(anchors)).float()
