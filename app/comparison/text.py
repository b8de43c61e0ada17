"""A comparison as text: a table, and bars for a terminal."""

from __future__ import annotations

import math

from app.comparison.comparison import Comparison, Row
from app.config import DistilConfig
from app.training.recipes.distil import followed_of, warm_up_of

_WIDTH = 40
# Measured: among 1,000 documents PCA and the recipe tie, among 5,000 they do not; see
# docs/quality.md, "Where PCA is as good".
_MANY = 2000


def table(comparison: Comparison) -> str:
    """A Markdown table, one line a reduction, lined up for a terminal too."""
    head = ["components", "method", "recall@10 of full", "95 %"]
    head += ["pair recall@1", "pair recall@10", "MRR"] if comparison.has_pairs else []
    head += ["bytes a vector", "GB a million"]
    lines = [head, *(_cells(row) for row in comparison.rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rule = ["-" * width for width in widths]
    return "\n".join(
        "| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in (head, rule, *lines[1:])
    )


def bars(comparison: Comparison) -> str:
    """Recall@10 of the full dimension as bars, a group for each number of components."""
    reduced = [row for row in comparison.rows if row.method != "full"]
    width = max(len(row.method) for row in reduced)
    lines = [f"recall@10 against {comparison.input_size} dimensions"]
    last = None
    for row in reduced:
        if row.n_components != last:
            lines += ["", f"{row.n_components} components"]
            last = row.n_components
        bar = "█" * round(_WIDTH * row.nn10)
        lines.append(f"  {row.method:<{width}} {bar:<{_WIDTH}} {row.nn10:.3f}")
    return "\n".join(lines)


def note(comparison: Comparison) -> str:
    """What to mind about the row `trained`, in words; else nothing."""
    return "\n".join(filter(None, (_few_learned(comparison), _few_held_out(comparison))))


def _few_learned(comparison: Comparison) -> str:
    sizes = {row.n_components for row in comparison.rows if row.method != "full"}
    followed = {k: _followed(comparison, k) for k in sorted(sizes)}
    few = {k: n for k, n in followed.items() if comparison.learned < n}
    if not few:
        return ""
    needed = ", ".join(f"{_vectors(n)} for {k} components" for k, n in few.items())
    return (
        f"note: there were {comparison.learned} vectors to learn from; `trained` is PCA until it "
        f"has seen {needed}"
    )


def _followed(comparison: Comparison, n_components: int) -> float:
    if comparison.has_pairs:
        return warm_up_of(DistilConfig(), n_components)
    return followed_of(DistilConfig(), n_components, comparison.input_size)


def _few_held_out(comparison: Comparison) -> str:
    corpus = comparison.held_out // (2 if comparison.has_pairs else 1)
    if corpus >= _MANY:
        return ""
    return (
        f"note: among {corpus} rows the ten nearest lie far away, where PCA finds as "
        "many; hold out as many as you will search"
    )


def _vectors(count: float) -> str:
    return "any number" if math.isinf(count) else f"{count:.0f}"


def _cells(row: Row) -> list[str]:
    of_pairs = [f"{x:.3f}" for x in (row.r1, row.r10, row.mrr) if x is not None]
    return [
        str(row.n_components),
        row.method,
        f"{row.nn10:.3f}",
        f"{row.low:.3f} to {row.high:.3f}",
        *of_pairs,
        str(row.bytes_a_vector),
        f"{row.gigabytes_a_million:.3f}",
    ]
