"""A seeded bug: a patch, the promise that it breaks, the tests that have to see it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PATCHES = Path(__file__).with_name("patches")
_BREAKS, _TEST = "Breaks: ", "Test: "


@dataclass(frozen=True, slots=True)
class Bug:
    """One patch file.

    Attributes:
        patch: its path; above the diff it says `Breaks:` once, and `Test:` for each test to run.
        breaks: the promise, in one sentence.
        tests: files or node ids, as pytest takes them.
    """

    patch: Path
    breaks: str
    tests: tuple[str, ...]

    @property
    def name(self) -> str:
        """The file's name, without its ending."""
        return self.patch.stem

    @classmethod
    def read(cls, patch: Path) -> Bug:
        """The bug of a patch file."""
        head = patch.read_text().partition("\n--- ")[0].splitlines()
        (breaks,) = _after(_BREAKS, head)
        tests = tuple(_after(_TEST, head))
        assert tests, f"{patch.name} names no test"
        return cls(patch, breaks, tests)


def read_bugs(folder: Path, names: Sequence[str] = ()) -> list[Bug]:
    """The bugs of a folder whose names begin with one of `names`; without any, all of them."""
    patches = sorted(folder.glob("*.patch"))
    chosen = [p for p in patches if not names or p.name.startswith(tuple(names))]
    assert chosen, f"expected the beginning of a patch's name, got {', '.join(names)}"
    return [Bug.read(patch) for patch in chosen]


def _after(word: str, lines: Sequence[str]) -> list[str]:
    return [line.removeprefix(word) for line in lines if line.startswith(word)]
