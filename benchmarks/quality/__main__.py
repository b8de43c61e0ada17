"""`python -m benchmarks.quality DATA` (or `make quality DATA=…`): check the learning targets."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click
import torch

from benchmarks.quality.checks import CHECKS
from benchmarks.quality.curves import CURVES_AT, draw
from benchmarks.quality.goals import COMPONENTS
from benchmarks.quality.record import Record
from benchmarks.quality.report import curve_tables, section
from benchmarks.quality.results import nothing_yet, run
from benchmarks.quality.splits import Splits, missing_files, read_splits
from benchmarks.quality.target import SHIPPED, Bench

_FOLDER = click.Path(path_type=Path, file_okay=False, exists=True)
_FILE = click.Path(path_type=Path, dir_okay=False)


def _complete(_: click.Context, __: click.Parameter, folder: Path | None) -> Path | None:
    if folder is not None and (missing := missing_files(folder)):
        raise click.BadParameter(f"{folder} lacks {', '.join(missing)}")
    return folder


@click.command()
@click.argument("data", type=_FOLDER, callback=_complete, required=False)
@click.option("--only", multiple=True, type=click.Choice(list(CHECKS)), help="these checks alone")
@click.option("--seeds", default=3, show_default=True, help="how many; the worst counts")
@click.option(
    "--components",
    multiple=True,
    type=click.Choice([str(k) for k in COMPONENTS]),
    help="a look at these alone: printed, not recorded",
)
@click.option("--other", type=_FOLDER, callback=_complete, help="data of another kind, for a shift")
@click.option("--model", type=_FOLDER, default=SHIPPED, help="the version folder that is the demo")
@click.option("--results", type=_FILE, help="record in this file, not in docs/quality.json")
@click.option("--page", multiple=True, type=_FILE, help="of --results: write this page's blocks")
@click.option("--plots", type=_FOLDER, help="measure the curves, and draw them into this folder")
@click.option("--render", is_flag=True, help="instead of DATA: write the pages again")
def main(
    data: Path | None,
    only: tuple[str, ...],
    seeds: int,
    components: tuple[str, ...],
    other: Path | None,
    model: Path,
    results: Path | None,
    page: tuple[Path, ...],
    plots: Path | None,
    render: bool,
) -> None:
    """Check the learning targets on DATA: {train,val,test}_{q,d}.npy, row i of both a pair.

    On the public set what a check finds replaces what docs/quality.json has of it, and the tables
    of README, docs/quality.md and the model card are written from there. Other data, and runs with
    --other or --model, are recorded with --results alone. The exit code is 1 when a target is
    missed.
    """
    record = Record() if results is None else Record(results, page)
    if data is None:
        _render(record, is_wanted=render)
        return
    splits = _read(data)
    chosen = [int(k) for k in components] or COMPONENTS
    bench = Bench(
        splits=splits,
        seeds=range(seeds),
        components=[k for k in chosen if k < splits.width],
        other=_read(other, width=splits.width) if other else None,
        model=model,
    )
    is_usual = splits.is_public and other is None and model == SHIPPED
    is_recorded = not components and (results is not None or is_usual)
    missed = _check(bench, only or tuple(CHECKS), _ready(record, splits) if is_recorded else None)
    if plots is not None:
        click.echo("### curves\n\n" + _curves(bench, plots))
    click.echo(f"\n{len(missed)} targets missed" + "".join(f"\n- {what}" for what in missed))
    sys.exit(1 if missed else 0)


def _read(folder: Path, *, width: int | None = None) -> Splits:
    """The data of a folder; of that width, if one is given."""
    try:
        splits = read_splits(folder)
    except ValueError as error:
        raise click.UsageError(f"the files of {folder} cannot be used: {error}") from error
    if width not in (None, splits.width):
        raise click.UsageError(
            f"expected --other with vectors of {width} numbers as DATA has, got {splits.width}; "
            "embed both by the same encoder"
        )
    return splits


def _curves(bench: Bench, folder: Path) -> str:
    if narrow := bench.too_narrow(CURVES_AT):
        return f"{narrow.what}: not measured: needs {narrow.needs}"
    return curve_tables(draw(bench.splits, folder))


def _render(record: Record, *, is_wanted: bool) -> None:
    if not is_wanted:
        raise click.UsageError("expected DATA, or --render")
    try:
        record.render()
    except (OSError, ValueError) as error:
        raise click.UsageError(f"the pages cannot be written: {error}") from error


def _ready(record: Record, splits: Splits) -> Record:
    """The record, if runs on these data can be put there."""
    if not record.is_of(splits):
        raise click.UsageError(f"{record.path} holds results of other data; choose --results")
    try:
        record.texts(nothing_yet(splits))
    except (OSError, ValueError) as error:
        raise click.UsageError(f"the pages could not be written: {error}") from error
    return record


def _check(bench: Bench, names: Sequence[str], record: Record | None) -> list[str]:
    """Run checks, print what they find, record it; the targets that were missed."""
    torch.set_num_threads(1)  # bits depend on it
    missed: list[str] = []
    for name in names:
        found = run(name, bench)
        click.echo(section(name, found) + "\n")
        missed += [f"{name}: {one.what}" for one in found.findings if not one.is_met]
        if record is not None:  # at once: the next check may be interrupted
            record.add(bench.splits, name, found)
    return missed


if __name__ == "__main__":
    main()
