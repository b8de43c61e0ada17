"""`slimvec align`: from one version's space into another's, and what that is worth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from app.cli.api_key import api_key_option, read_api_key
from app.cli.options import errors_as_exit_codes

if TYPE_CHECKING:
    from app.types import Alignment, Serving


def _parse_target(_: click.Context, __: click.Parameter, text: str) -> Serving:
    if text == "live" or text.isdecimal():
        return "live" if text == "live" else int(text)
    raise click.BadParameter("expected a version number, or live")


@click.command()
@click.argument("version", type=click.IntRange(1))
@click.option(
    "--to",
    metavar="VERSION",
    default="live",
    show_default=True,
    callback=_parse_target,
    help="into whose space",
)
@click.option("--url", default="http://127.0.0.1:8000", show_default=True, help="the server")
@click.option("--model", help="the model's name; without it, the server's default model")
@api_key_option
@click.option(
    "--out",
    metavar="FILE.npy",
    type=click.Path(path_type=Path),
    help="also write the map: aligned = reduced @ numpy.load(FILE.npy)",
)
def align(
    version: int,
    to: Serving,
    url: str,
    model: str | None,
    api_key_file: Path | None,
    out: Path | None,
) -> None:
    """Turn the reduced vectors of VERSION into the space of another version.

    Tells how queries of VERSION do in a corpus of the other one, as they are and turned, on the
    vectors that the model remembers.
    """
    from app.client import Client

    with errors_as_exit_codes():
        api_key = read_api_key(api_key_file)
        with Client(url, model, api_key=api_key, timeout_s=600) as client:
            found = client.alignment(version, to)
        if out is not None:
            _write(found, out)
    click.echo(_summary(found))


def _write(found: Alignment, out: Path) -> None:
    import numpy as np

    from app.errors import Unacceptable

    try:
        with out.open("wb") as file:
            np.save(file, found.rotation)
    except OSError as error:
        raise Unacceptable(
            "out_of_range", f"--out: expected a file to write at {out}: {error.strerror}"
        ) from None


def _summary(found: Alignment) -> str:
    """Both versions in one line, then the figures in columns."""
    first, second = found.stamp.version, found.to.version
    source = {"moments": "the second moment of all vectors seen", "reservoir": "the vectors kept"}
    return (
        f"model {found.stamp.model}: version {first} into the space of version {second}, from "
        f"{source[found.aligned_by]}\n"
        f"{'':24}{'as they are':>12}{'turned':>12}\n"
        f"{'mean cosine':24}{found.cosine:12.4f}{found.cosine_aligned:12.4f}\n"
        f"{f'nn10, {first} in {second}':24}{found.nn10:12.4f}{found.nn10_aligned:12.4f}\n"
        f"{f'nn10, {second} in {second}':24}{found.nn10_own:12.4f}\n"
        f"{found.queries} queries in {found.vectors} remembered vectors"
    )
