"""Demo: the model that is shipped, measured from its folder."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import torch
from torch import Tensor

from app.service.version_files import from_files
from app.storage.repository import Repository
from app.training import Trainer
from app.types import Checkpoint
from benchmarks.quality import goals
from benchmarks.quality.learners import figures, go_on, pca, vectors, weight_of
from benchmarks.quality.splits import Pairs
from benchmarks.quality.target import CHECKS, Bench, Entry, Figures, Finding, NotMeasured

ONLINE_STEPS, ONLINE_ROWS = 200, 32
_OURS = "this model"
_QUALITY, _LEARNING = "quality", "learning on"


@CHECKS.register("demo")
def demo(bench: Bench) -> Iterator[Entry]:
    """The model that is shipped, beside what it competes with, and as it learns on."""
    files = Repository(bench.model.parents[1]).read(bench.model.parent.name, int(bench.model.name))
    checkpoint = from_files(int(bench.model.name), files)
    if (width := checkpoint.config.input_size) != bench.splits.width:
        yield NotMeasured(what=bench.model.parent.name, needs=f"vectors of {width} numbers")
        return
    found = dict(_competitors(torch.tensor(checkpoint.serving["Q_reduced"]), bench))
    if bench.splits.is_public:
        yield from _findings({name: of.values for name, of in found.items()}, files.state)
    yield from found.values()
    yield from _learning_on(checkpoint, bench)


def _competitors(weight: Tensor, bench: Bench) -> Iterator[tuple[str, Figures]]:
    identity, k = torch.eye(bench.splits.width), len(weight)
    maps = {
        "truncation": identity[:k],
        "PCA, uncentred": pca(bench.splits.train.every, k),
        _OURS: weight,
        "full dimension": identity,
    }
    for name, Q in maps.items():
        values = figures(Q, bench.splits.test)
        yield name, Figures(table=_QUALITY, of=name, numbers=len(Q), values=values)


def _findings(found: dict[str, dict[str, float]], state: dict[str, object]) -> Iterator[Finding]:
    ours = found[_OURS]
    yield Finding(
        what="nn10, beside PCA's", goal=found["PCA, uncentred"]["nn10"], found=ours["nn10"]
    )
    yield Finding(what="mrr", goal=goals.DEMO_MRR, found=ours["mrr"])
    told = state["metrics"]
    assert isinstance(told, dict), "a version that was trained here tells its metrics"
    yield Finding(
        what="metrics in state.json: differ by",
        goal=goals.DEMO_SPREAD,
        found=max(abs(ours[name] - told[name]) for name in ours),
        is_most=True,
    )


def _learning_on(checkpoint: Checkpoint, bench: Bench) -> Iterator[Figures]:
    """Figures of the validation pairs before and after streamed steps without pairs."""
    assert checkpoint.trainer is not None, "a trained checkpoint has a state"
    trainer = Trainer(checkpoint.config)
    trainer.restore(checkpoint.trainer)
    yield _row("before", weight_of(trainer), bench.splits.val)
    stream = vectors(bench.splits.train, seed=0, rows=ONLINE_ROWS)
    go_on(trainer, islice(stream, ONLINE_STEPS))
    yield _row(f"after {ONLINE_STEPS} steps", weight_of(trainer), bench.splits.val)


def _row(name: str, weight: Tensor, held_out: Pairs) -> Figures:
    return Figures(table=_LEARNING, of=name, numbers=len(weight), values=figures(weight, held_out))
