"""The report: a Markdown table a check, and the page between whose markers it goes."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from inspect import getdoc
from pathlib import Path

from benchmarks.quality.checks import CHECKS
from benchmarks.quality.curves import Curve
from benchmarks.quality.target import Bench, Entry, NotMeasured

_BEGIN, _END = "<!-- measured: begin -->\n", "<!-- measured: end -->\n"


def heading(bench: Bench) -> str:
    """One line on what was measured, and on what."""
    which = "the public set" if bench.splits.is_public else "another set than the public one"
    return (
        f"{len(bench.splits.train.every):,} vectors of {bench.splits.width} numbers to learn from, "
        f"{len(bench.splits.test.documents):,} held-out pairs ({which}); the worst of seeds "
        f"{', '.join(map(str, bench.seeds))}; {platform.machine()}, torch {version('torch')}, one "
        "thread."
    )


def section(name: str, entries: Sequence[Entry], seconds: float) -> str:
    """One check: what it is, and a line a target."""
    lines = [f"### {name}", "", f"{getdoc(CHECKS[name])} ({seconds:.0f} s)", ""]
    lines += ["| target | goal | found | met |", "|---|---|---|---|"]
    return "\n".join([*lines, *map(_line, entries)])


def _line(one: Entry) -> str:
    if isinstance(one, NotMeasured):
        return f"| {one.what} | - | not measured: needs {one.needs} | - |"
    return (
        f"| {one.what} | {'≤' if one.is_most else '≥'} {one.goal:.3f} | {one.found:.3f} | "
        f"{'yes' if one.is_met else '**no**'} |"
    )


def curve_tables(curves: Mapping[str, Curve]) -> str:
    """The numbers behind the plots."""
    lines = ["| learner | vectors or weight | nn10 | mrr |", "|---|---|---|---|"]
    for name, curve in curves.items():
        lines += [
            f"| {name} | {place:g} | {of['nn10']:.3f} | {of['mrr']:.3f} |" for place, of in curve
        ]
    return "\n".join(lines)


def write_between_markers(page: Path, text: str) -> None:
    """Replace what stands between the markers of a page.

    Raises:
        ValueError: the page has no markers.
    """
    before, begin, rest = page.read_text(encoding="utf-8").partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not (begin and end):
        raise ValueError(f"expected the lines {_BEGIN!r} and {_END!r} in {page}")
    page.write_text(f"{before}{begin}\n{text}\n\n{end}{after}", encoding="utf-8")
