"""`python -m benchmarks.quality DATA` (or `make quality DATA=…`): check the learning targets."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

import click
import torch

from benchmarks.quality.checks import CHECKS
from benchmarks.quality.curves import draw
from benchmarks.quality.goals import COMPONENTS
from benchmarks.quality.report import curve_tables, heading, section, write_between_markers
from benchmarks.quality.splits import missing_files, read_splits
from benchmarks.quality.target import Bench, Finding

_FOLDER = click.Path(path_type=Path, file_okay=False, exists=True)


def _complete(_: click.Context, __: click.Parameter, folder: Path | None) -> Path | None:
    if folder is not None and (missing := missing_files(folder)):
        raise click.BadParameter(f"{folder} lacks {', '.join(missing)}")
    return folder


@click.command()
@click.argument("data", type=_FOLDER, callback=_complete)
@click.option("--only", multiple=True, type=click.Choice(list(CHECKS)), help="these checks alone")
@click.option("--seeds", default=3, show_default=True, help="how many; the worst counts")
@click.option("--components", multiple=True, type=click.Choice([str(k) for k in COMPONENTS]))
@click.option("--other", type=_FOLDER, callback=_complete, help="data of another kind, for a shift")
@click.option("--page", type=click.Path(path_type=Path), help="write the tables into this page")
@click.option("--plots", type=_FOLDER, help="measure the curves, and draw them into this folder")
def main(
    data: Path,
    only: tuple[str, ...],
    seeds: int,
    components: tuple[str, ...],
    other: Path | None,
    page: Path | None,
    plots: Path | None,
) -> None:
    """Check the learning targets on DATA: {train,val,test}_{q,d}.npy, row i of both a pair.

    The exit code is 1 when a target is missed.
    """
    torch.set_num_threads(1)  # bits depend on it
    splits = read_splits(data)
    chosen = [int(k) for k in components] or COMPONENTS
    bench = Bench(
        splits=splits,
        seeds=range(seeds),
        components=[k for k in chosen if k < splits.width],
        other=read_splits(other) if other else None,
    )
    missed: list[str] = []
    parts = [heading(bench), *_sections(bench, only or tuple(CHECKS), missed)]
    if plots is not None:
        parts.append("### curves\n\n" + curve_tables(draw(splits, plots)))
        click.echo(parts[-1])
    if page is not None:
        write_between_markers(page, "\n\n".join(parts))
    click.echo(f"\n{len(missed)} targets missed" + "".join(f"\n- {what}" for what in missed))
    sys.exit(1 if missed else 0)


def _sections(bench: Bench, names: tuple[str, ...], missed: list[str]) -> Iterator[str]:
    for name in names:
        began = perf_counter()
        entries = list(CHECKS[name](bench))
        findings = [one for one in entries if isinstance(one, Finding)]
        missed += [f"{name}: {one.what}" for one in findings if not one.is_met]
        text = section(name, entries, perf_counter() - began)
        click.echo(text + "\n")
        yield text


if __name__ == "__main__":
    main()
