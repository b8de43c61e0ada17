"""`slimvec journal`: what a model was taught, change by change."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import click
import orjson

from app.cli.options import errors_as_exit_codes, read_settings, setting_option

if TYPE_CHECKING:
    from app.service.inspection import Entry

_HEAD = ("seq", "version", "time", "kind", "step", "loss", "rows", "key", "what")
_WIDTHS = (8, 8, 24, 9, 8, 11, 7, 12, 0)


@click.command()
@click.argument("model")
@click.option("--last", type=click.IntRange(1), help="only the newest so many")
@click.option("--json", "as_json", is_flag=True, help="one JSON object a line")
@setting_option("models_dir")
def journal(model: str, last: int | None, *, as_json: bool, **given: Any) -> None:
    """List the changes of MODEL that its journal still has, oldest first.

    Also beside a running server: it reads only.
    """
    from app.service.inspection import changes, store_at

    write = _write_json if as_json else _write_table
    with errors_as_exit_codes():
        entries = changes(store_at(read_settings(given).models_dir), model)
        write(entries if last is None else deque(entries, maxlen=last))


def _write_json(entries: Iterable[Entry]) -> None:
    for entry in entries:
        click.echo(orjson.dumps(entry))


def _write_table(entries: Iterable[Entry]) -> None:
    lines = iter(entries)
    first = next(lines, None)  # before the head: a model that is not there has none
    click.echo(_line(_HEAD))
    for entry in chain([] if first is None else [first], lines):
        click.echo(
            _line(
                (
                    str(entry.seq),
                    str(entry.version),
                    entry.at[:23],
                    entry.kind,
                    str(entry.step),
                    "" if entry.loss is None else f"{entry.loss:.6g}",
                    "" if entry.rows is None else str(entry.rows),
                    entry.key,
                    entry.what,
                )
            )
        )


def _line(cells: Sequence[str]) -> str:
    """Cells in columns; line by line, because a journal may be longer than the memory."""
    columns = (cell.ljust(width) for cell, width in zip(cells, _WIDTHS, strict=True))
    return "  ".join(columns).rstrip()
