"""strace: which calls touch the models directory, and something that happens at one of them."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

_CALLS = (
    "write,pwrite64,writev,pwritev,fsync,fdatasync,sync_file_range,rename,renameat,renameat2,"
    "unlink,unlinkat,rmdir,truncate,ftruncate,fallocate,mkdir,mkdirat,link,linkat"
)
_LINE = re.compile(r"^(\d+) +(\w+)\((.*)")
_QUOTED, _DESCRIPTOR = re.compile(r'"(/[^"]*)"'), re.compile(r"\d+<(/[^>]*)>")
_END_S = 60


@dataclass(frozen=True, slots=True, order=True)
class Point:
    """A thread's `number`-th call of a kind on one file of the models directory."""

    path: str
    call: str
    number: int


class Strace:
    """strace on a held process and all its threads; attached when the `with` block begins.

    Args:
        pid: of the process.
        arguments: of strace.
        output: where its lines go.
    """

    def __init__(self, pid: int, *arguments: str, output: Path) -> None:
        self._command = ["strace", "-f", "-o", str(output), *arguments, "-p", str(pid)]

    def __enter__(self) -> Strace:
        self._process = subprocess.Popen(self._command, stderr=subprocess.PIPE, text=True)
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if "attached" in line:
                return self
        raise AssertionError("strace did not attach")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.communicate(timeout=_END_S)


def missing() -> str:
    """Why strace cannot be used here; empty when it can."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    tried = subprocess.run(
        ["strace", "-o", "/dev/null", "true"], capture_output=True, text=True, check=False
    )
    return "" if tried.returncode == 0 else "ptrace is not permitted"


def watching() -> tuple[str, ...]:
    """Arguments that list every call which may change a file."""
    return "-y", "-s", "1", "-e", f"trace={_CALLS}"


def points(output: Path, models_dir: Path) -> list[Point]:
    """Every call below the models directory, in the order in which they came.

    strace counts for each thread, and a thread has another number in every run: the same call of
    two threads is one point, at which the first of them is met.
    """
    counts: Counter[tuple[str, str, str]] = Counter()
    found: dict[Point, None] = {}
    for line in output.read_text(errors="replace").splitlines():
        if (match := _LINE.match(line)) and (path := _touched(match[3], models_dir)):
            thread, call = match[1], match[2]
            counts[thread, path, call] += 1
            found[Point(path, call, counts[thread, path, call])] = None
    return list(found)


def killing(point: Point, models_dir: Path) -> tuple[str, ...]:
    """Arguments that kill the process as it makes this call."""
    return _injecting(point, models_dir, f"signal=KILL:when={point.number}")


def failing(point: Point, models_dir: Path, error: str) -> tuple[str, ...]:
    """Arguments that make this one call fail; the calls of the file are listed."""
    return _injecting(point, models_dir, f"error={error}:when={point.number}")


def _injecting(point: Point, models_dir: Path, what: str) -> tuple[str, ...]:
    path = str(models_dir / point.path)
    return "-P", path, "-e", f"trace={point.call}", "-e", f"inject={point.call}:{what}"


def _touched(arguments: str, models_dir: Path) -> str:
    """The file below the models directory that a call is about, relative to it; else empty."""
    for pattern in (_QUOTED, _DESCRIPTOR):
        if (match := pattern.search(arguments)) and Path(match[1]).is_relative_to(models_dir):
            return str(Path(match[1]).relative_to(models_dir))
    return ""
