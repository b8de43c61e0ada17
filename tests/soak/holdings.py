"""What a process holds, as Linux tells it: its own memory, descriptors, threads, files."""

from __future__ import annotations

import os
from pathlib import Path

# Pages of mapped files come and go as the kernel likes, and are not what a leak is made of.
_OWN = ("RssAnon:", "RssShmem:", "VmSwap:")


def memory_bytes(pid: int) -> int:
    """The anonymous and shared memory of a process, also what was swapped out."""
    return sum(1024 * int(kilobytes) for name, kilobytes in _status(pid) if name in _OWN)


def threads(pid: int) -> int:
    """How many threads a process has."""
    return next(int(number) for name, number in _status(pid) if name == "Threads:")


def descriptors(pid: int) -> int:
    """How many descriptors a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 names are all that is wanted


def disk_bytes(folder: Path) -> int:
    """The bytes of all files below a folder whose content may go at any time."""
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(path) / name).lstat().st_size
            except FileNotFoundError:
                continue  # it was removed meanwhile
    return total


def _status(pid: int) -> list[tuple[str, str]]:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return [(words[0], words[1]) for line in lines if len(words := line.split()) > 1]
