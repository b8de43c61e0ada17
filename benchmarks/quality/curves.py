"""Curves: the metrics against the vectors seen, and the frontier that the dial moves along."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from app.types import Batch
from benchmarks.quality.learners import config, figures, learn, paired, pca, vectors
from benchmarks.quality.splits import Splits

CURVES_AT = 64
_MARKS = (256, 512, 1024, 2048, 3072, 4096, 6144, 8192, 12_288, 16_384)
FRONTIER_AT = (16, 64, 192)
_WEIGHTS = (0.0, 0.1, 0.3, 1.0, 3.0, 30.0)
_FOR_EVER = 1_000_000_000
_PLAIN: dict[str, Any] = {"recipe": "plain", "optimizer": {"type": "Adam", "lr": 3e-3}}
# What the recipe is drawn beside: name, what the config says, whether pairs come.
_LEARNERS: tuple[tuple[str, dict[str, Any], bool], ...] = (
    ("recipe distil", {}, False),
    ("recipe distil, pairs", {}, True),
    ("eigenvectors of the running moment", {"distil": {"warm_up": _FOR_EVER}}, False),
    ("plain, similarity", {**_PLAIN, "loss": "similarity"}, False),
    ("plain, reconstruction", {**_PLAIN, "loss": "reconstruction"}, False),
)

Curve = Sequence[tuple[float, dict[str, float]]]


def streams(splits: Splits) -> dict[str, Curve]:
    """Each learner's metrics on the way, at 64 components."""
    return {
        name: _curve(splits, document, paired if has_pairs else vectors)
        for name, document, has_pairs in _LEARNERS
    }


def frontier(splits: Splits, k: int, seed: int = 0) -> Curve:
    """The metrics of each pair weight after one pass, on the pairs to choose by."""
    found = []
    for weight in _WEIGHTS:
        model = config(splits.width, k, distil={"pair_weight": weight}, seed=seed)
        batches = paired(splits.train, seed=seed)
        found.append((weight, figures(learn(model, batches), splits.val)))
    return found


def _curve(
    splits: Splits, document: dict[str, Any], stream: Callable[..., Iterator[Batch]]
) -> Curve:
    marks, found = list(_MARKS), []

    def watch(seen: int, weight: Tensor) -> None:
        if marks and seen >= marks[0]:
            marks.pop(0)
            found.append((float(seen), figures(weight, splits.test)))

    end = learn(
        config(splits.width, CURVES_AT, **document), stream(splits.train, seed=0), watch=watch
    )
    found.append((float(len(splits.train.every)), figures(end, splits.test)))
    return found


def draw(splits: Splits, folder: Path) -> dict[str, Curve]:
    """Measure and write `quality-stream.png` and `quality-frontier.png`; what was measured."""
    bar = figures(pca(splits.train.every, CURVES_AT), splits.test)
    lines = streams(splits)
    dials = {k: frontier(splits, k) for k in FRONTIER_AT if k < splits.width}
    _draw_streams(lines, bar, folder / "quality-stream.png")
    draw_frontiers(splits, dials, folder / "quality-frontier.png")
    return {**lines, **{f"frontier, k={k}": dial for k, dial in dials.items()}}


def _draw_streams(lines: Mapping[str, Curve], bar: dict[str, float], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    titles = {"nn10": f"nn10 at {CURVES_AT} components", "mrr": f"MRR at {CURVES_AT} components"}
    for place, (metric, title) in enumerate(titles.items(), start=1):
        axes = figure.add_subplot(1, 2, place)
        for name, curve in lines.items():
            axes.plot([seen for seen, _ in curve], [of[metric] for _, of in curve], label=name)
        axes.axhline(bar[metric], color="grey", linestyle=":", label="PCA of all vectors")
        axes.set(xlabel="vectors seen, once each", title=title, xscale="log")
        axes.set_ylim(bottom=0.75 * bar[metric])
        axes.grid(visible=True, alpha=0.3)
    axes.legend(fontsize="small")
    figure.savefig(path, format="png", dpi=80)


def draw_frontiers(splits: Splits, dials: Mapping[int, Curve], path: Path) -> None:
    """Draw what each pair weight keeps of neighbours and finds of pairs, one plot a width."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * len(dials), 4), layout="constrained")
    for place, (k, dial) in enumerate(dials.items(), start=1):
        axes = figure.add_subplot(1, len(dials), place)
        axes.plot([of["nn10"] for _, of in dial], [of["mrr"] for _, of in dial], marker="o")
        for weight, of in dial:
            axes.annotate(f"{weight:g}", (of["nn10"], of["mrr"]))
        bar = figures(pca(splits.train.every, k), splits.val)
        axes.plot([bar["nn10"]], [bar["mrr"]], marker="s", color="grey")
        axes.annotate("PCA", (bar["nn10"], bar["mrr"]))
        axes.set(xlabel="nn10", ylabel="MRR", title=f"pair_weight, {k} components")
        axes.grid(visible=True, alpha=0.3)
    figure.savefig(path, format="png", dpi=80)
