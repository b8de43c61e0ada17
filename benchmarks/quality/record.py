"""A record: the file that keeps results, and the pages that are written from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.quality.pages import rewritten
from benchmarks.quality.results import Results, Run, nothing_yet, read, write
from benchmarks.quality.splits import Splits
from benchmarks.quality.target import ROOT, SHIPPED

_RESULTS = ROOT / "docs" / "quality.json"
_PAGES = (ROOT / "README.md", ROOT / "docs" / "quality.md", SHIPPED / "README.md")


@dataclass(frozen=True, slots=True)
class Record:
    """Results of one set of data, the last run of each check.

    Attributes:
        path: of the file.
        pages: whose blocks say what is in it.
    """

    path: Path = _RESULTS
    pages: Sequence[Path] = _PAGES

    def is_of(self, splits: Splits) -> bool:
        """Whether runs on these data belong here: all do, as long as there are none."""
        return not self.path.exists() or read(self.path).digest == splits.digest

    def add(self, splits: Splits, name: str, run: Run) -> None:
        """Put a run in the place of the check's last one, and write the pages.

        The file is read again each time: another check may have ended meanwhile.
        """
        before = read(self.path) if self.path.exists() else nothing_yet(splits)
        write(self.path, before.with_run(name, run))
        self.render()

    def render(self) -> None:
        """Write the pages from what is recorded.

        Raises:
            OSError: nothing is recorded.
            ValueError: see `texts`.
        """
        for page, text in zip(self.pages, self.texts(read(self.path)), strict=True):
            page.write_bytes(text.encode())

    def texts(self, results: Results) -> list[str]:
        """What the pages would be with these results.

        Raises:
            OSError: one cannot be read.
            ValueError: the blocks of one are not what they should be.
        """
        return [rewritten(page.read_bytes().decode(), results) for page in self.pages]
