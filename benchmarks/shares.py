"""`python -m benchmarks.shares`: where the time of a durable train step goes, as shares.

In process, without HTTP, under cProfile: it makes Python calls dearer and leaves the rest as it is,
so the shares are a guide to what to look at, not a measurement. Needs Python 3.11: later ones have
one profiler for all threads.
"""

from __future__ import annotations

import asyncio
import cProfile
import pstats
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from benchmarks import durable
from benchmarks.comparisons import ROWS
from benchmarks.contenders import write_model


@dataclass(frozen=True, slots=True)
class Part:
    """A function, and what it does in words; its callees count as it."""

    what: str
    file: str
    function: str


WHOLE = Part("a group of steps", "engine/worker.py", "_apply")
PARTS = (
    Part("copies to undo a step or a group", "training/savepoint.py", "take"),
    Part("forward, backward, optimizer, guards", "training/step.py", "take_step"),
    Part("the snapshot: a copy of the weights, its digest", "engine/publication.py", "_snapshot"),
    Part("the state digest (without the weights)", "training/trainer.py", "state_digest"),
    Part("the row of the journal", "service/rows.py", "to_row"),
    Part("the commit", "storage/journal.py", "append"),
    Part("publishing, answering", "engine/worker.py", "_settle"),
)
COMMIT = Part("the commit", "storage/journal.py", "_append")
PARTS_OF_COMMIT = (
    Part("checksums", "storage/journal_row.py", "seal"),
    Part("SQLite and the sync", "storage/journal_writer.py", "write"),
    Part("the mark", "storage/mark.py", "write"),
)


@click.command()
@click.option("--steps", default=500, show_default=True, help="how many train steps")
@click.option("--waiting", default=1, show_default=True, help="how many are queued at once")
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False, exists=True))
def main(steps: int, waiting: int, folder: Path | None) -> None:
    """Print the shares of a durable step, and of its commit."""
    with TemporaryDirectory(dir=folder) as models:
        stats = profiled(Path(models), steps=steps, waiting=waiting)
    click.echo(f"{steps} steps of {ROWS} rows, {waiting} waiting\n")
    click.echo(table(stats, WHOLE, PARTS))
    click.echo()
    click.echo(table(stats, COMMIT, PARTS_OF_COMMIT))


def profiled(models: Path, *, steps: int, waiting: int) -> pstats.Stats:
    """What the trainer's thread did during so many steps."""
    write_model(models / durable.MODEL / "1")
    with _new_threads("trainer-") as profiles:
        asyncio.run(durable.train(models, ROWS, waiting, steps))
    (profile,) = profiles
    return pstats.Stats(profile)


def table(stats: pstats.Stats, whole: Part, parts: tuple[Part, ...]) -> str:
    """Markdown: each part's share of the whole, then what is left."""
    total = seconds(stats, whole)
    shares = [(part.what, seconds(stats, part) / total) for part in parts]
    shares.append(("everything else", 1 - sum(share for _, share in shares)))
    lines = [f"| of {whole.what} | share |", "|---|---|"]
    return "\n".join([*lines, *(f"| {what} | {share:.0%} |" for what, share in shares)])


def seconds(stats: pstats.Stats, part: Part) -> float:
    """The time of a function, with what it called.

    Raises:
        LookupError: it was never called; `PARTS` is out of date.
    """
    # typeshed leaves out the one attribute that all of pstats is about.
    entries = stats.stats.items()  # type: ignore[attr-defined]
    for (file, _, function), (_, _, _, cumulative, _) in entries:
        if function == part.function and file.endswith(part.file):
            return float(cumulative)
    raise LookupError(f"{part.function} of {part.file} was not called")


@contextmanager
def _new_threads(name: str) -> Iterator[list[cProfile.Profile]]:
    """A profile of each thread that starts meanwhile and whose name begins so."""
    profiles: list[cProfile.Profile] = []

    def begin(*_: object) -> None:
        sys.setprofile(None)
        if not threading.current_thread().name.startswith(name):
            return
        profile = cProfile.Profile()
        profiles.append(profile)
        profile.enable()

    threading.setprofile(begin)  # each new thread calls it first
    try:
        yield profiles
    finally:
        threading.setprofile(None)


if __name__ == "__main__":
    main()
