"""`python -m benchmarks` (or `make bench`): measure, and print a Markdown report."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from benchmarks.contenders import ContenderFailed, running
from benchmarks.report import render
from benchmarks.rounds import run
from benchmarks.scenarios import SCENARIOS, Scenario
from benchmarks.verify import verify

_QUICK_SECONDS = 0.6


@click.command()
@click.option("--rounds", default=3, show_default=True, help="repetitions, interleaved")
@click.option("--seconds", default=1.0, show_default=True, help="length of one measurement")
@click.option("--only", multiple=True, metavar="TEXT", help="scenarios whose name contains this")
@click.option("--quick", is_flag=True, help="three scenarios, one short round: half a minute")
@click.option("--output", type=click.Path(path_type=Path), help="also write the report here")
def main(
    rounds: int, seconds: float, only: tuple[str, ...], quick: bool, output: Path | None
) -> None:
    """Measure Slimvec beside a plain FastAPI service and an echo server of the same bytes."""
    if quick:
        rounds, seconds = 1, _QUICK_SECONDS
    scenarios = choose(only, quick=quick)
    try:
        with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as servers:
            verify(servers, scenarios)
            click.echo("every contender computes what numpy computes; timing", err=True)
            results = run(servers, scenarios, rounds=rounds, seconds=seconds, tell=_tell)
    except ContenderFailed as error:
        raise click.ClickException(str(error)) from None
    report = render(results, rounds=rounds, seconds=seconds)
    click.echo(report)
    if output:
        output.write_text(report)


def choose(only: tuple[str, ...], *, quick: bool) -> list[Scenario]:
    """The scenarios that were asked for.

    Raises:
        BadParameter: a text that no scenario contains.
    """
    if unknown := [text for text in only if not any(text in s.name for s in SCENARIOS)]:
        names = ", ".join(scenario.name for scenario in SCENARIOS)
        raise click.BadParameter(f"no scenario contains {unknown[0]!r}; there are: {names}")
    wanted = [s for s in SCENARIOS if not only or any(text in s.name for text in only)]
    return [s for s in wanted if s.is_quick] if quick and not only else wanted


def _tell(line: str) -> None:
    click.echo(line, err=True)


if __name__ == "__main__":
    main()
