"""`python -m tests.soak`: a sound server for SOAK_MINUTES, then one that must be caught."""

from __future__ import annotations

import os
import sys

from tests.soak.judge import Verdict, judge
from tests.soak.soak import LEAKY, MAX_DISK_BYTES, SOUND, Outcome, run

_MINUTES = 20.0
_CONTROL_MINUTES = 5.0
_MOST_SHOWN = 10


def main() -> int:
    """Run both; the exit code is 0 when the one is flat and the other is caught."""
    is_sound = _soak("soak", SOUND, _minutes("SOAK_MINUTES", _MINUTES)) == set()
    caught = _soak(
        "control, 1 KiB leaked a request", LEAKY, _minutes("CONTROL_MINUTES", _CONTROL_MINUTES)
    )
    is_seen = "memory" in caught and "answers" not in caught
    _say(
        f"soak: {'flat' if is_sound else 'NOT flat'}; "
        f"the control was {'caught' if is_seen else 'NOT caught as it should be'}"
    )
    return int(not (is_sound and is_seen))


def _minutes(name: str, default: float) -> float:
    return float(os.environ.get(name) or default)


def _soak(title: str, module: str, minutes: float) -> set[str]:
    """Run one server; the names of what is not as it should be."""
    outcome = run(module, minutes)
    verdicts = judge(outcome.samples, max_disk_bytes=MAX_DISK_BYTES)
    _say("", f"## {title}, {minutes:g} minutes", "", *_visited(outcome), "", *_judged(verdicts))
    if outcome.faults:
        _say("", f"{len(outcome.faults)} answers that nobody should get:")
        _say(*outcome.faults[:_MOST_SHOWN])
    found = {"answers"} if outcome.faults else set()
    return found | {verdict.name for verdict in verdicts if not verdict.is_met}


def _visited(outcome: Outcome) -> list[str]:
    last = outcome.samples[-1]
    lines = ["| visit | times |", "| --- | ---: |"]
    lines += [f"| {name} | {times} |" for name, times in sorted(outcome.visits.items())]
    rate = last.requests / last.elapsed_s
    return [*lines, f"| **requests** | **{last.requests}** ({rate:.0f} a second) |"]


def _judged(verdicts: list[Verdict]) -> list[str]:
    lines = ["| held | after the warm-up | at the end | measure | limit | |"]
    lines += ["| --- | ---: | ---: | ---: | ---: | --- |"]
    for verdict in verdicts:
        in_mb = verdict.first > 1e5
        first, last = (
            f"{level / 1e6:.1f} MB" if in_mb else f"{level:.0f}"
            for level in (verdict.first, verdict.last)
        )
        lines.append(
            f"| {verdict.name} | {first} | {last} | {verdict.measure:.1f} {verdict.unit} | "
            f"{verdict.limit:.0f} | {'met' if verdict.is_met else '**not met**'} |"
        )
    return lines


def _say(*lines: str) -> None:
    print(*lines, sep="\n", flush=True)  # noqa: T201 the table is what the command is for


if __name__ == "__main__":
    sys.exit(main())
