"""`python -m tests.mutation [NAME…]`: seed each bug once, and see which test fails."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from tests.mutation.bug import PATCHES, read_bugs
from tests.mutation.gate import Finding, Gate, Verdict


def main(
    names: Sequence[str], *, tree: Path = Path(__file__).parents[2], patches: Path = PATCHES
) -> int:
    """Try the bugs whose names begin like this, or all; the exit code.

    Args:
        names: beginnings of the names of patches.
        tree: the repository, which stays as it is.
        patches: the folder with the patches.
    """
    bugs = read_bugs(patches, names)
    with Gate.over(tree) as gate:
        if failures := gate.failures_without_bugs(bugs):
            _say("These fail without any seeded bug:", *failures)
            return 1
        _say("| bug | breaks | caught by |", "| --- | --- | --- |")
        findings = []
        for finding in gate.findings(bugs):
            findings.append(finding)
            _say(_row(finding))
    num_caught = sum(finding.verdict is Verdict.CAUGHT for finding in findings)
    _say("", f"mutation-test: {num_caught} of {len(bugs)} seeded bugs caught")
    return int(num_caught < len(bugs))


def _row(finding: Finding) -> str:
    bug = finding.bug
    test, _, _ = finding.caught_by.partition("[")  # its parameters may be long, or not printable
    found = f"`{test}`" if test else f"**{finding.verdict}**"
    return f"| {bug.name} | {bug.breaks} | {found} |"


def _say(*lines: str) -> None:
    print(*lines, sep="\n", flush=True)  # noqa: T201 the table is what the command is for


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
