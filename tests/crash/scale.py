"""How much of a rig runs: a cut in `make test`, all of it in `make crash-test`."""

from __future__ import annotations

import os

IS_FULL = os.environ.get("CRASH_SCALE") == "full"


def scaled(*, small: int, full: int) -> int:
    """How many trials to run."""
    return full if IS_FULL else small


def report(line: str) -> None:
    """Print a count; `make crash-test` shows it."""
    print(f"\ncrash-test: {line}", flush=True)  # noqa: T201 the counts are what the target is for
