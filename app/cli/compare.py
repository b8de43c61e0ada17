"""`slimvec compare`: what reductions of one's own embeddings keep."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import orjson

from app.cli.options import errors_as_exit_codes

_FILE = click.Path(path_type=Path)


def _parse_components(_: click.Context, __: click.Parameter, text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise click.BadParameter("expected whole numbers with commas between: 16,32,64") from None


@click.command()
@click.argument("path", metavar="FILE", type=_FILE)
@click.argument("pairs", metavar="[PAIRS]", type=_FILE, required=False)
@click.option(
    "--components",
    metavar="K,K,…",
    default="16,32,64,128",
    show_default=True,
    callback=_parse_components,
    help="numbers of components",
)
@click.option(
    "--held-out",
    metavar="SHARE",
    type=click.FloatRange(0, 1),
    default=0.2,
    show_default=True,
    help="of the rows, to measure on and never to learn from",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="of the split")
@click.option(
    "--pair-weight",
    type=click.FloatRange(0, 100),
    default=0.3,
    show_default=True,
    help="with PAIRS: 0 keeps neighbours, 1 to 3 puts finding the partner first",
)
@click.option("--plot", metavar="FILE.png", type=_FILE, help="also draw a picture")
@click.option("--json", "as_json", is_flag=True, help="for machines")
def compare(
    path: Path, pairs: Path | None, plot: Path | None, as_json: bool, **options: Any
) -> None:
    """Compare reductions of the rows of FILE: truncation, random projection, PCA, trained.

    FILE is .npy, .npz or .safetensors, shape (rows, input_size). Row i of PAIRS is what row i of
    FILE should find.
    """
    from app.comparison import bars, check_plot, note, table, write_plot

    with errors_as_exit_codes():
        if plot is not None:
            check_plot(plot)
        found = _compared(path, pairs, options)
        if plot is not None:
            write_plot(found, plot)
    if as_json:
        click.echo(orjson.dumps(asdict(found), option=orjson.OPT_INDENT_2))
        return
    click.echo(
        f"{found.held_out} vectors held out of {found.held_out + found.learned}, seed "
        f"{options['seed']}; exact search by cosine\n"
    )
    click.echo(table(found))
    click.echo(f"\n{bars(found)}")
    if said := note(found):
        click.echo(said, err=True)


def _compared(path: Path, pairs: Path | None, options: dict[str, Any]) -> Any:
    from app.cli.array_file import open_rows
    from app.comparison import compare as compare_all
    from app.comparison import divide

    hidden_states = open_rows(path)
    positives = None if pairs is None else open_rows(pairs, "positives")
    division = divide(hidden_states, positives, share=options["held_out"], seed=options["seed"])
    return compare_all(
        division,
        components=options["components"],
        seed=options["seed"],
        pair_weight=options["pair_weight"],
        begins=_show,
    )


def _show(reduction: str) -> None:
    """What is being made, for somebody who waits at a terminal."""
    if sys.stderr.isatty():
        click.echo(f"{reduction} …", err=True)
