"""`slimvec fit`: weights from a file of embeddings in one pass, here or on a running server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from app.cli.api_key import api_key_option, read_api_key
from app.cli.options import errors_as_exit_codes, read_settings

if TYPE_CHECKING:
    from app.cli.training_file import TrainingFile
    from app.config import Component
    from app.types import Batch

_FILE = click.Path(path_type=Path)


@click.command()
@click.argument("path", metavar="FILE", type=_FILE)
@click.option("--components", metavar="K", type=click.IntRange(1), help="width of the output")
@click.option("--method", default="pca", show_default=True, help="a fit method, or its JSON object")
@click.option("--positives", type=_FILE, help="a file with the other side of each row's pair")
@click.option("--out", metavar="FOLDER", type=_FILE, help="the new model: models/its-name")
@click.option("--url", help="a running server, in the place of --out")
@click.option("--model", help="on that server; without it, its default model")
@api_key_option
@click.option("--batch-size", type=click.IntRange(1), default=1024, show_default=True)
def fit(path: Path, out: Path | None, url: str | None, **options: Any) -> None:
    """Make weights from the rows of FILE (.npy, .npz, .safetensors), read once.

    With --out, a new model of --components is written that `slimvec serve` loads; with --url, a
    model of a running server begins anew.
    """
    from app.cli.training_file import TrainingFile

    if (out is None) == (url is None):
        raise click.UsageError("expected --out FOLDER for a new model, or --url of a server")
    with errors_as_exit_codes():
        positives: Path | None = options["positives"]
        beside = {} if positives is None else {"positives": positives}
        file = TrainingFile(path, beside, batch_size=options["batch_size"])
        if out is not None:
            _write(file, out, options)
        else:
            _send(file, str(url), options)


def _write(file: TrainingFile, out: Path, options: dict[str, Any]) -> None:
    from app.config import parse_config
    from app.main import fit_model

    if options["components"] is None:
        raise click.UsageError("expected --components K for a new model")
    method = _method(options["method"])
    layer = {"type": "QRReduction", "n_components": options["components"]}
    if method.arguments.get("center"):
        layer["bias"] = True
    config = parse_config({"input_size": file.width, "layers": [layer]})
    folder = out.absolute()
    settings = read_settings({"models_dir": str(folder.parent)})
    made = fit_model(settings, folder.name, config, _shown(file), method)
    click.echo(_summary(folder.name, made.rows, made.explained_variance, made.warning))
    click.echo(
        f"serve it with: slimvec serve --models-dir {out.parent} --default-model {folder.name}"
    )


def _send(file: TrainingFile, url: str, options: dict[str, Any]) -> None:
    from app.client import Client

    if options["components"] is not None:
        raise click.UsageError("expected no --components: the server's model has its own")
    method = _method(options["method"]).model_dump()
    api_key = read_api_key(options["api_key_file"])
    # The answer comes after the eigenvectors of a wide moment.
    with Client(url, options["model"], api_key=api_key, timeout_s=600) as client:
        made = client.fit(_shown(file), method=method)
    click.echo(_summary(made.model, made.rows, made.explained_variance, made.warning))


def _method(text: str) -> Component:
    from app.codecs import parse_object
    from app.config import parse_method

    return parse_method(parse_object(text.encode()) if text.startswith("{") else text)


def _shown(file: TrainingFile) -> Iterator[Batch]:
    """The batches, with a bar on a terminal."""
    from tqdm import tqdm

    with tqdm(total=file.num_rows, unit=" rows", unit_scale=True, disable=None) as bar:
        for batch in file:
            yield batch
            bar.update(len(batch.hidden_states))


def _summary(model: str, vectors: int, explained: float, warning: str) -> str:
    text = f"model {model}: {vectors} vectors, {explained:.2%} of their spread captured"
    return f"{text}\nwarning: {warning}" if warning else text
