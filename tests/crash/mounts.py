"""File systems of the rigs' own, in files: for root only, and always taken down again."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FICLONE = 0x40049409


def missing(*programs: str) -> str:
    """Why file systems cannot be mounted here; empty when they can."""
    if os.geteuid() != 0:
        return "mounting needs root"
    absent = [program for program in programs if shutil.which(program) is None]
    return f"{', '.join(absent)} not installed" if absent else _refused_loop()


@contextmanager
def mounted(source: str, target: Path, *options: str) -> Iterator[Path]:
    """Mount, and unmount at the end.

    Args:
        source: a device, or the name of a file system without one.
        target: an empty or missing folder.
        options: of mount.
    """
    target.mkdir(exist_ok=True)
    run("mount", *options, source, str(target))
    try:
        yield target
    finally:
        run("umount", str(target))


@contextmanager
def loop(image: Path) -> Iterator[str]:
    """A block device whose content is a file; past the page cache, as a disk is."""
    device = run("losetup", "--direct-io=on", "--find", "--show", str(image)).strip()
    try:
        yield device
    finally:
        run("losetup", "--detach", device)


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system in memory that is soon full."""
    with mounted("tmpfs", folder, "-t", "tmpfs", "-o", f"size={size}") as disk:
        yield disk


def make_image(image: Path, num_bytes: int, *mkfs: str) -> None:
    """A file with a fresh file system in it; takes space only as it is used."""
    with image.open("wb") as file:
        file.truncate(num_bytes)
    run(*mkfs, str(image))


def clone(source: Path, target: Path) -> None:
    """Share all blocks of a file, at one moment; needs a file system with reflinks."""
    with source.open("rb") as old, target.open("wb") as new:
        fcntl.ioctl(new.fileno(), _FICLONE, old.fileno())


def run(*command: str) -> str:
    """Run a program of the system; what it printed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout


def _refused_loop() -> str:
    tried = subprocess.run(["losetup", "--find"], capture_output=True, text=True, check=False)
    return "" if tried.returncode == 0 else "there are no loop devices"
