"""`python -m tests.fuzz PYTHON`: every target for FUZZ_SECONDS, in an interpreter with atheris."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

from tests.e2e.process import plain_environment
from tests.fuzz.targets import targets

_ROOT = Path(__file__).parents[2]
_SECONDS = "60"
_COUNT = re.compile(r"number_of_executed_units: *(\d+)")
_FAULT = re.compile(r"=== Uncaught Python exception: ===\n(.*)|ERROR: libFuzzer: (.*)")
_MOST_SHOWN = 4000


def main(interpreter: str) -> int:
    """Fuzz each target in turn and print the counts; the exit code."""
    _say("| target | executions | found |", "| --- | ---: | --- |")
    failed = []
    for name in targets():
        code, text = _fuzz(interpreter, name)
        count, fault = _COUNT.search(text), _FAULT.search(text)
        found = (fault[1] or fault[2]) if fault else "nothing" if code == 0 else "ended too soon"
        _say(f"| {name} | {count[1] if count else 0} | {found} |")
        if code != 0:
            failed.append(text[-_MOST_SHOWN:])
    _say("", *failed, f"fuzz, bytes: {len(failed)} of {len(targets())} targets failed")
    return int(bool(failed))


def _fuzz(interpreter: str, name: str) -> tuple[int, str]:
    # The other interpreter has atheris only: the rest is that of ours, of the same version.
    shared = {"PYTHONPATH": sysconfig.get_path("purelib")}
    seconds = os.environ.get("FUZZ_SECONDS") or _SECONDS
    ended = subprocess.run(
        [interpreter, "-W", "ignore", "-m", "tests.fuzz.octets", name, seconds],
        cwd=_ROOT,
        env=plain_environment() | shared,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    return ended.returncode, ended.stdout + ended.stderr


def _say(*lines: str) -> None:
    print(*lines, sep="\n", flush=True)  # noqa: T201 the counts are what the command is for


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
