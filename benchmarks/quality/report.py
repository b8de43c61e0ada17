"""The report: what is printed of a run, and what stands in the marked blocks of the pages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from inspect import getdoc

from benchmarks.quality.checks import CHECKS
from benchmarks.quality.curves import Curve
from benchmarks.quality.goals import EPOCHS
from benchmarks.quality.results import Results, Run
from benchmarks.quality.target import Figures, Finding, NotMeasured

_NONE = "Not measured yet."
_DEMO = "minilm-384-to-96"
# Columns of the recipe's table: the title, the check and its table of figures.
_COLUMNS = (
    ("PCA of all", "offline", "PCA"),
    ("one pass", "online", "recipe"),
    (f"{EPOCHS} epochs", "offline", "recipe"),
    (f"{EPOCHS} epochs, pairs", "offline-pairs", "balanced"),
    ("pairs, task first", "offline-pairs", "task"),
)


def section(name: str, run: Run) -> str:
    """One check: what it is, how it was run, a line a target, and its figures."""
    how = f"{_origin(run)}; {run.environment}; {run.seconds:.0f} s"
    lines = [f"### {name}", "", f"{getdoc(CHECKS[name])} ({how})"]
    held = [_line(one) for one in run.entries if not isinstance(one, Figures)]
    if held:
        lines += ["", *_table(("target", "goal", "found", "met"), held)]
    for table in dict.fromkeys(one.table for one in run.entries if isinstance(one, Figures)):
        lines += ["", *_figures(run.table(table), title=table, digits=3)]
    return "\n".join(lines)


def curve_tables(curves: Mapping[str, Curve]) -> str:
    """The numbers behind the plots."""
    rows = [
        (name, f"{place:g}", f"{of['nn10']:.3f}", f"{of['mrr']:.3f}")
        for name, curve in curves.items()
        for place, of in curve
    ]
    return "\n".join(_table(("learner", "vectors or weight", "nn10", "mrr"), rows))


def targets(results: Results) -> str:
    """Every check, and what was missed."""
    which = "the public set" if results.is_public else "another set than the public one"
    head = (
        f"{results.vectors:,} vectors of {results.width} numbers to learn from, "
        f"{results.pairs:,} held-out pairs ({which}); one thread, on a shared machine. Each "
        "check says when it ran, at which commit, and the seeds of which the worst counts."
    )
    sections = [section(name, results.runs[name]) for name in CHECKS if name in results.runs]
    missed = [
        f"- {name}, {one.what}: {one.found:.3f} of {one.goal:.3f}"
        for name, run in sorted(results.runs.items())
        for one in run.findings
        if not one.is_met
    ]
    total = f"{met(results)}." + (" Missed:" if missed else "")
    return "\n\n".join([head, *sections, total, *(["\n".join(missed)] if missed else [])])


def met(results: Results) -> str:
    """How many targets were met, in words."""
    findings = [one for run in results.runs.values() for one in run.findings]
    return f"{sum(one.is_met for one in findings)} of {len(findings)} targets met"


def demo(results: Results) -> str:
    """The demo model beside what it competes with, for a reader of the README."""
    lines = [
        (
            f"**{_DEMO}**" if one.of == "this model" else one.of,
            str(one.numbers),
            *(f"{one.values[name]:.3f}" for name in ("nn10", "mrr", "r1", "r10")),
        )
        for one in _lines_of(results, "demo", "quality")
    ]
    titles = ("", "numbers", "nn10", "MRR", "recall@1", "recall@10")
    return "\n".join(_table(titles, lines)) if lines else _NONE


def recipe(results: Results) -> str:
    """The recipe beside PCA at each number of components."""
    found = {
        title: {one.numbers: one.values for one in _lines_of(results, check, table)}
        for title, check, table in _COLUMNS
    }
    found = {title: column for title, column in found.items() if column}
    sizes = sorted({k for column in found.values() for k in column})
    rows = [(str(k), *(_pair(column.get(k)) for column in found.values())) for k in sizes]
    if not rows:
        return _NONE
    checks = dict.fromkeys(check for title, check, _ in _COLUMNS if title in found)
    origins = "; ".join(f"`{check}` {_origin(results.runs[check])}" for check in checks)
    head = (f"of {results.width}", *found)
    note = f"nn10 / MRR, of several seeds the worst ({origins})."
    return "\n".join([*_table(head, rows), "", note])


def card(results: Results) -> str:
    """The demo model beside what it competes with, for its card."""
    return _of_demo(results, "quality")


def learning(results: Results) -> str:
    """The demo model before and after more steps, for its card."""
    return _of_demo(results, "learning on")


BLOCKS: Mapping[str, Callable[[Results], str]] = {
    "targets": targets,
    "met": met,
    "demo": demo,
    "recipe": recipe,
    "card": card,
    "learning": learning,
}


def _of_demo(results: Results, table: str) -> str:
    lines = _lines_of(results, "demo", table)
    return "\n".join(_figures(lines, digits=4)) if lines else _NONE


def _lines_of(results: Results, check: str, table: str) -> list[Figures]:
    run = results.runs.get(check)
    return run.table(table) if run else []


def _origin(run: Run) -> str:
    """When and of what code a run was, and which seeds it had."""
    seeds = f"seed{'s' if len(run.seeds) > 1 else ''} {', '.join(map(str, run.seeds))}"
    return f"{run.day} at {run.commit}, {seeds}"


def _figures(lines: Sequence[Figures], *, title: str = "", digits: int) -> list[str]:
    names = tuple(lines[0].values)
    rows = [(one.of, *(f"{one.values[name]:.{digits}f}" for name in names)) for one in lines]
    return _table((title, *names), rows)


def _pair(values: Mapping[str, float] | None) -> str:
    return f"{values['nn10']:.3f} / {values['mrr']:.3f}" if values else "-"


def _line(one: Finding | NotMeasured) -> tuple[str, ...]:
    if isinstance(one, NotMeasured):
        return (one.what, "-", f"not measured: needs {one.needs}", "-")
    goal = f"{'≤' if one.is_most else '≥'} {one.goal:.3f}"
    return (one.what, goal, f"{one.found:.3f}", "yes" if one.is_met else "**no**")


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (titles, ["---"] * len(titles), *rows)]
