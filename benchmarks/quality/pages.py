"""Pages: documents with blocks between markers that are written from results."""

from __future__ import annotations

import re

from benchmarks.quality.report import BLOCKS
from benchmarks.quality.results import Results

_BEGIN = "<!-- measured {}: begin -->"
_BLOCK = re.compile(r"<!-- measured ([a-z]+): begin -->(.*?)<!-- measured \1: end -->", re.DOTALL)


def rewritten(text: str, results: Results) -> str:
    """The text with what its blocks say now; all else is as it was.

    A block that begins a line of its own is a paragraph, any other is part of a sentence.

    Raises:
        ValueError: no block is there, one is unknown, or one does not end.
    """
    found = _BLOCK.findall(text)
    if not found or len(found) != text.count(_BEGIN.partition("{}")[0]) / 2:
        raise ValueError("expected blocks between `<!-- measured NAME: begin -->` and `… end -->`")
    if unknown := {name for name, _ in found} - set(BLOCKS):
        raise ValueError(f"unknown block {min(unknown)!r}; expected one of: {', '.join(BLOCKS)}")

    def block(old: re.Match[str]) -> str:
        new = BLOCKS[old[1]](results)
        space = "\n\n" if old[2][:1].isspace() else ""
        begin = _BEGIN.format(old[1])
        return f"{begin}{space}{new}{space}{begin.replace('begin', 'end')}"

    return _BLOCK.sub(block, text)
