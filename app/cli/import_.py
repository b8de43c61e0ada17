"""`slimvec import`: a model from trained weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from app.cli.options import errors_as_exit_codes, read_settings, setting_option


@click.command("import")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--name", required=True, help="the new model's name")
@setting_option("models_dir")
def import_(path: Path, name: str, **given: Any) -> None:
    """Make a model from trained weights: a state_dict (.pt) or a .safetensors file."""
    from app.main import import_layer

    with errors_as_exit_codes():
        layer = import_layer(read_settings(given), path, name)
    click.echo(
        f"model {name}: {layer.summary}; serve it with: slimvec serve --default-model {name}"
    )
