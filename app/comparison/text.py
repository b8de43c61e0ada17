"""A comparison as text: a table, and bars for a terminal."""

from __future__ import annotations

from app.comparison.comparison import Comparison, Row
from app.training.fits import vectors_advised

_WIDTH = 40


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
    """Where there were too few vectors to train on, in words; else nothing."""
    sizes = {row.n_components for row in comparison.rows if row.method != "full"}
    few = [k for k in sorted(sizes) if comparison.learned < vectors_advised(k)]
    if not few:
        return ""
    needed = ", ".join(f"{vectors_advised(k)} for {k} components" for k in few)
    return (
        f"note: there were {comparison.learned} vectors to learn from; `trained` is about PCA "
        f"until it has seen {needed}"
    )


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
