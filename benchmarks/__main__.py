"""`python -m benchmarks` (or `make bench`): measure, and print a Markdown report."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import click

from benchmarks.comparisons import COMPARISONS
from benchmarks.contenders import ContenderFailed, Server, running
from benchmarks.lanes import of_comparison, of_scenario
from benchmarks.report import Measured, render
from benchmarks.rounds import Lanes, Samples, run
from benchmarks.scenarios import SCENARIOS, Scenario
from benchmarks.verify import verify

_QUICK_SECONDS = 0.6


@click.command()
@click.option("--rounds", default=3, show_default=True, help="repetitions, interleaved")
@click.option("--seconds", default=1.0, show_default=True, help="length of one measurement")
@click.option("--only", multiple=True, metavar="TEXT", help="scenarios whose name contains this")
@click.option("--quick", is_flag=True, help="a few rows, one short round: under a minute")
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="where the models are, so on which disk; without it, where temporary files go",
)
@click.option("--output", type=click.Path(path_type=Path), help="also write the report here")
def main(
    rounds: int,
    seconds: float,
    only: tuple[str, ...],
    quick: bool,
    folder: Path | None,
    output: Path | None,
) -> None:
    """Measure Slimvec beside a plain FastAPI service, an echo server, and itself done otherwise."""
    if quick:
        rounds, seconds = 1, _QUICK_SECONDS
    chosen = choose(only, quick=quick)
    try:
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            results = _measure(chosen, Path(scratch), rounds=rounds, seconds=seconds)
    except ContenderFailed as error:
        raise click.ClickException(str(error)) from None
    report = render(results, rounds=rounds, seconds=seconds)
    click.echo(report)
    if output:
        output.write_text(report)


def choose(only: tuple[str, ...], *, quick: bool) -> list[Measured]:
    """What was asked for.

    Raises:
        BadParameter: a text that no name contains.
    """
    everything: tuple[Measured, ...] = (*SCENARIOS, *COMPARISONS)
    if unknown := [text for text in only if not any(text in one.name for one in everything)]:
        names = ", ".join(one.name for one in everything)
        raise click.BadParameter(f"no scenario contains {unknown[0]!r}; there are: {names}")
    wanted = [one for one in everything if not only or any(text in one.name for text in only)]
    return [one for one in wanted if one.is_quick] if quick and not only else wanted


def _measure(
    chosen: list[Measured], folder: Path, *, rounds: int, seconds: float
) -> dict[Measured, Samples]:
    names = frozenset[str]().union(*(one.servers for one in chosen))
    with running(folder, names) as servers:
        verify(servers, [one for one in chosen if isinstance(one, Scenario)])
        _tell("every contender computes what numpy computes; timing")
        plan = {one: _lanes(one, servers, folder) for one in chosen}
        return run(plan, rounds=rounds, seconds=seconds, tell=_tell)


def _lanes(one: Measured, servers: Mapping[str, Server], folder: Path) -> Lanes:
    if isinstance(one, Scenario):
        return of_scenario(one, servers)
    return of_comparison(one, servers, folder)


def _tell(line: str) -> None:
    click.echo(line, err=True)


if __name__ == "__main__":
    main()
