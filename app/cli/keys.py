"""`slimvec keys`: make, list and revoke the API keys of a server, also while it runs."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from typing import Any

import click

from app.access import SCOPE_WORDS, ApiKey, Caller, edit_keys, make_api_key, read_keys
from app.access.keys_file import MAX_COMMENT, MODEL_GLOB
from app.cli.options import errors_as_exit_codes, read_settings, setting_option
from app.errors import StartupError

_DAY_S = 86_400.0
_HEAD = ("id", "scope", "models", "created", "expires", "comment")


@click.group()
def keys() -> None:
    """Make, list and revoke API keys. A running server takes changes up within a second."""


@keys.command()
@setting_option("keys_file")
@click.option(
    "--scope",
    type=click.Choice(list(SCOPE_WORDS)),
    default="read",
    show_default=True,
    help="what it is for; each includes the ones before it",
)
@click.option(
    "--model", "models", multiple=True, default=("*",), show_default=True, metavar="GLOB",
    help="the models that there are for it; may be given several times",
)  # fmt: skip
@click.option("--expires-days", type=click.FloatRange(0, 36_500, min_open=True), metavar="DAYS")
@click.option("--comment", default="", help="whose it is, say")
def add(scope: str, models: tuple[str, ...], expires_days: float | None, **given: Any) -> None:
    """Make a key. It is printed once, on standard output; only its hash is kept."""
    comment = _harmless(given.pop("comment"))
    for model in models:
        if not re.fullmatch(MODEL_GLOB, model):
            raise click.UsageError("--model: expected a model's name, perhaps with * and ?")
    with errors_as_exit_codes():
        path = _keys_file(given)
        with edit_keys(path) as keys:
            text, key_id, digest = make_api_key(frozenset(keys))
            keys[key_id] = ApiKey(
                caller=Caller(key_id, SCOPE_WORDS[scope], models),
                digest=digest,
                created_s=time.time(),
                expires_s=inf if expires_days is None else time.time() + expires_days * _DAY_S,
                comment=comment,
            )
    click.echo(f"key {key_id} ({scope}) is in {path}; shown this once:", err=True)
    click.echo(text)


@keys.command("list")
@setting_option("keys_file")
def list_(**given: Any) -> None:
    """Show the keys: everything but what they are."""
    with errors_as_exit_codes():
        rows = [_HEAD, *map(_row, read_keys(_keys_file(given)).values())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


@keys.command()
@click.argument("key_id", metavar="ID")
@setting_option("keys_file")
def revoke(key_id: str, **given: Any) -> None:
    """Revoke the key with this id (never the key itself: arguments are seen by others)."""
    with errors_as_exit_codes():
        path = _keys_file(given)
        with edit_keys(path) as keys:
            if keys.pop(key_id, None) is None:
                raise StartupError(
                    "api_key_not_found",
                    f"expected the id of a key in {path}, got none of them; see: slimvec keys list",
                    exit_code=1,
                )
    click.echo(f"revoked {key_id}", err=True)


def _keys_file(given: dict[str, Any]) -> Path:
    path = read_settings(given).keys_file
    if path is None:
        raise StartupError(
            "keys_file_invalid", "expected --keys-file FILE, or SLIMVEC_KEYS_FILE; got neither"
        )
    return path


def _harmless(comment: str) -> str:
    if len(comment) > MAX_COMMENT or not comment.isprintable():
        raise click.UsageError(f"--comment: expected one line of at most {MAX_COMMENT} characters")
    return comment


def _row(key: ApiKey) -> tuple[str, ...]:
    scope = key.caller.scope.word if key.caller.scope else ""
    expires = "never" if key.expires_s == inf else _date(key.expires_s)
    if key.expires_s <= time.time():
        expires += " (expired)"
    models = ",".join(key.caller.models)
    return key.caller.id, scope, models, _date(key.created_s), expires, key.comment


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")
