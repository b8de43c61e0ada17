"""Pairs of texts that every Python holds: `python -m benchmarks.quality.docstrings FOLDER… > FILE`.

A line a pair: a docstring's first line, a tab, the rest of it, a tab, the package. The files are
read as syntax trees: nothing is imported.
"""

from __future__ import annotations

import ast
import sys
import warnings
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

_WITH_DOCSTRING = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_UNWANTED = frozenset({"test", "tests", "testing", "vendor", "_vendor"})
# Generated clients repeat themselves: of one file not more than so many.
_A_FILE = 10
_SHORTEST, _LONGEST = 20, 120
_SHORTEST_REST, _LONGEST_REST = 80, 600
# Who wraps a function copies its docstring and changes the end.
_BEGINNING = 120


def pairs(folders: list[Path]) -> Iterator[tuple[str, str, str]]:
    """First line, the rest and the package of each docstring, none twice.

    Files come in the order of a digest of their names: all packages are mixed, and what a file
    holds stays together, so a cut into parts to learn from and to test by splits one file at most.
    """
    seen: set[str] = set()
    files = [
        (path.relative_to(folder), path) for folder in folders for path in folder.rglob("*.py")
    ]
    for name, path in sorted(files, key=lambda file: sha256(file[0].as_posix().encode()).digest()):
        if not _UNWANTED & set(name.parts):
            for first, rest in _new(path, seen):
                yield first, rest, name.parts[0].removesuffix(".py")


def _new(path: Path, seen: set[str]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for text in _docstrings(path):
        first, rest = (" ".join(part.split()) for part in (text + "\n").split("\n", 1))
        known = {first.lower(), rest[:_BEGINNING].lower()}
        if _is_long_enough(first, rest) and not known & seen and len(found) < _A_FILE:
            seen |= known
            found.append((first, rest[:_LONGEST_REST]))
    return found


def _is_long_enough(first: str, rest: str) -> bool:
    return _SHORTEST <= len(first) <= _LONGEST and len(rest) >= _SHORTEST_REST


def _docstrings(path: Path) -> Iterator[str]:
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return  # a template, or of another Python
    for node in ast.walk(tree):
        if isinstance(node, _WITH_DOCSTRING) and (text := ast.get_docstring(node)):
            yield text


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # other people's escapes
    for pair in pairs([Path(folder) for folder in sys.argv[1:]]):
        print(*pair, sep="\t")
