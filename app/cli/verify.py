"""`slimvec verify`: whether everything that a model has on disk is whole."""

from __future__ import annotations

import sys
from typing import Any

import click

from app.cli.options import errors_as_exit_codes, read_settings, setting_option


@click.command()
@click.argument("model")
@setting_option("models_dir")
def verify(model: str, **given: Any) -> None:
    """Check every version and every journal row of MODEL; exit code 1 when something is wrong.

    Also beside a running server: it reads only.
    """
    from app.service.inspection import store_at
    from app.service.verification import verify as check

    with errors_as_exit_codes():
        verdict = check(store_at(read_settings(given).models_dir), model)
    for finding in verdict.findings:
        click.echo(finding)
    checked = f"{verdict.versions} versions and {verdict.rows} journal rows"
    if verdict.findings:
        num_faults = len(verdict.findings)
        faults = "1 fault" if num_faults == 1 else f"{num_faults} faults"
        click.echo(f"{model}: {faults}; {checked} were checked")
        sys.exit(1)
    click.echo(f"{model} is whole: {checked}")
