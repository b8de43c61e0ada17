"""Every seeded bug has to be seen by the tests that are there for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory
from typing import TypeVar

from tests.mutation.bug import Bug
from tests.mutation.workshop import Run, Workshop

T = TypeVar("T")
R = TypeVar("R")

_PARALLEL = 2
_TESTS_FAILED = 1  # exit code of pytest; above it, the tests were not run to an end


class Verdict(StrEnum):
    """What became of a bug; all but the first fail the gate."""

    CAUGHT = "caught"
    SURVIVED = "SURVIVED"
    STALE = "STALE: the patch does not apply; make it anew on the present code"
    UNTESTED = "UNTESTED: its tests are skipped here, or could not be run"


@dataclass(frozen=True, slots=True)
class Finding:
    """A bug, what became of it, and the first test that failed."""

    bug: Bug
    verdict: Verdict
    caught_by: str = ""


class Gate:
    """Copies of one tree, and bugs that are tried in them, a few at a time.

    Args:
        workshops: one for each thread.
    """

    def __init__(self, workshops: Sequence[Workshop]) -> None:
        self._num_threads = len(workshops)
        self._idle: SimpleQueue[Workshop] = SimpleQueue()
        for workshop in workshops:
            self._idle.put(workshop)

    @classmethod
    @contextmanager
    def over(cls, tree: Path) -> Iterator[Gate]:
        """A gate over copies of a tree, which go at the end."""
        with TemporaryDirectory(prefix="mutation-") as folder:
            yield cls([Workshop(tree, Path(folder) / str(n)) for n in range(_PARALLEL)])

    def failures_without_bugs(self, bugs: Sequence[Bug]) -> list[str]:
        """What fails, or does not run, of the bugs' tests while there is no bug.

        Red means the bug only where it was green before.
        """
        tests = sorted({test for bug in bugs for test in bug.tests})
        shares = [share for n in range(_PARALLEL) if (share := tests[n::_PARALLEL])]
        runs = self._with_each(shares, lambda share, workshop: workshop.run(share))
        return [line for run in runs if run.code for line in run.failed or [run.text]]

    def findings(self, bugs: Sequence[Bug]) -> Iterator[Finding]:
        """What becomes of each bug, in their order."""
        return self._with_each(bugs, _try)

    def _with_each(self, items: Sequence[T], act: Callable[[T, Workshop], R]) -> Iterator[R]:
        def acted(item: T) -> R:
            workshop = self._idle.get()
            try:
                return act(item, workshop)
            finally:
                self._idle.put(workshop)

        with ThreadPoolExecutor(self._num_threads) as threads:
            yield from threads.map(acted, items)


def _try(bug: Bug, workshop: Workshop) -> Finding:
    with workshop.seeded(bug) as is_applied:
        if not is_applied:
            return Finding(bug, Verdict.STALE)
        return _judged(bug, workshop.run(bug.tests, "--exitfirst"))


def _judged(bug: Bug, run: Run) -> Finding:
    if run.code == _TESTS_FAILED and run.failed:
        return Finding(bug, Verdict.CAUGHT, run.failed[0])
    if run.code == 0 and run.is_any_passed:
        return Finding(bug, Verdict.SURVIVED)
    return Finding(bug, Verdict.UNTESTED)
