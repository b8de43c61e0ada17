"""Results: what each check found when it ran last, at which commit, with which seeds."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks.quality.checks import CHECKS
from benchmarks.quality.splits import Splits
from benchmarks.quality.target import ROOT, Bench, Entry, Figures, Finding, NotMeasured

# What a run's figures may depend on; the model card is written from them.
_CODE = ("app", "benchmarks/quality", "models", "constraints.txt", ":(exclude)*.md")
_KINDS = (Finding, NotMeasured, Figures)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One check, once.

    Attributes:
        entries: what it found.
        seeds: of which the worst counts.
        day: when it ended, in UTC.
        commit: the code that ran; a `+` behind it for changes that were not committed.
        environment: processor and torch.
        seconds: how long it took.
    """

    entries: Sequence[Entry]
    seeds: Sequence[int]
    day: str
    commit: str
    environment: str
    seconds: float

    @property
    def findings(self) -> list[Finding]:
        """The targets that were measured."""
        return [one for one in self.entries if isinstance(one, Finding)]

    def table(self, name: str) -> list[Figures]:
        """The lines of one table of figures."""
        return [one for one in self.entries if isinstance(one, Figures) and one.table == name]


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """The last run of each check on the same data.

    Attributes:
        digest: of the content of the data.
        is_public: whether these are the data of the absolute goals.
        width: numbers of a vector.
        vectors: to learn from.
        pairs: held out.
        runs: by check.
    """

    digest: str
    is_public: bool
    width: int
    vectors: int
    pairs: int
    runs: dict[str, Run] = field(default_factory=dict)

    def with_run(self, name: str, run: Run) -> Results:
        """The same with another run of one check."""
        return replace(self, runs={**self.runs, name: run})


def nothing_yet(splits: Splits) -> Results:
    """Results on these data without a run."""
    return Results(
        digest=splits.digest,
        is_public=splits.is_public,
        width=splits.width,
        vectors=len(splits.train.every),
        pairs=len(splits.test.documents),
    )


def run(name: str, bench: Bench) -> Run:
    """Run one check."""
    began = perf_counter()
    entries = list(CHECKS[name](bench))
    return Run(
        entries=entries,
        seeds=list(bench.seeds),
        day=f"{datetime.now(UTC):%Y-%m-%d}",
        commit=_commit(),
        environment=f"{platform.machine()}, torch {version('torch')}",
        seconds=round(perf_counter() - began, 1),
    )


def read(path: Path) -> Results:
    """What `write` wrote.

    Raises:
        OSError: there is no such file.
    """
    document = json.loads(path.read_text(encoding="utf-8"))
    runs = {
        name: Run(**{**found, "entries": [_entry(one) for one in found["entries"]]})
        for name, found in document.pop("runs").items()
    }
    return Results(**document, runs=runs)


def write(path: Path, results: Results) -> None:
    """All results as JSON, checks in the order of their names."""
    document = asdict(replace(results, runs=dict(sorted(results.runs.items()))))
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _entry(values: dict[str, Any]) -> Entry:
    """The entry whose fields these are."""
    [kind] = [kind for kind in _KINDS if {one.name for one in fields(kind)} == set(values)]
    return kind(**values)


def _commit() -> str:
    """The code's commit, as `Run` has it; `unknown` where there is no git."""

    def git(*arguments: str) -> str:
        found = subprocess.run(
            ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=True
        )
        return found.stdout.strip()

    try:
        changed = git("status", "--porcelain", "--", *_CODE)
        return git("rev-parse", "--short", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
