"""`slimvec train`: a file of embeddings to a running server, as one training stream."""

from __future__ import annotations

import sys
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self
from uuid import uuid4

import click

from app.cli.api_key import api_key_option, read_api_key
from app.cli.options import errors_as_exit_codes
from app.errors import SlimvecError, StorageFull, Unavailable

if TYPE_CHECKING:
    from app.cli.training_file import TrainingFile
    from app.client import Acknowledgement, Item, Refused

_FILE = click.Path(path_type=Path)
_BESIDE = ("targets", "positives", "negatives", "labels", "sample_weights")


@click.command()
@click.argument("path", metavar="FILE.npy", type=_FILE)
@click.option("--url", default="http://127.0.0.1:8000", show_default=True, help="the server")
@click.option("--model", help="the model's name; without it, the server's default model")
@api_key_option
@click.option("--targets", type=_FILE, help="an .npy file with a target for each row")
@click.option("--positives", type=_FILE, help="what belongs to each row, in the same form")
@click.option("--negatives", type=_FILE, help="what does not belong to each row, in the same form")
@click.option("--labels", type=_FILE, help="a whole number for each row")
@click.option("--sample-weights", type=_FILE, help="a weight for each row")
@click.option("--batch-size", type=click.IntRange(1), default=32, show_default=True)
@click.option("--epochs", type=click.IntRange(1), default=1, show_default=True)
@click.option("--loss", help="the name of a loss, instead of the config's")
@click.option(
    "--on-error",
    type=click.Choice(["stop", "skip"]),
    default="stop",
    show_default=True,
    help="after a batch that the server refuses",
)
@click.option("--key", help="goes on with a run that ended early: the key that it printed")
@click.option(
    "--retry-for",
    metavar="SECONDS",
    type=click.FloatRange(0),
    default=60.0,
    show_default=True,
    help="how long to wait for a server that went away",
)
def train(path: Path, url: str, model: str | None, **options: Any) -> None:
    """Train a model on the rows of FILE.npy, shape (rows, input_size).

    Every batch is applied exactly once, also when the server restarts in between.
    """
    from app.cli.training_file import TrainingFile

    with errors_as_exit_codes():
        given = {name: options.pop(name) for name in _BESIDE}
        file = TrainingFile(
            path,
            {name: other for name, other in given.items() if other is not None},
            batch_size=options["batch_size"],
            epochs=options["epochs"],
        )
        api_key = read_api_key(options.pop("api_key_file"))
        _greet(url, model, api_key)
        _train(file, url, model, api_key, options)


def _greet(url: str, model: str | None, api_key: str | None) -> None:
    """Say at once, not after `--retry-for`, that there is no such server or model."""
    from app.client import Client, Retries

    with Client(url, model, api_key=api_key, retries=Retries(total_s=0)) as client:
        client.describe()


def _train(
    file: TrainingFile, url: str, model: str | None, api_key: str | None, options: dict[str, Any]
) -> None:
    from app.client import Client, ConnectionTrouble, Retries

    passing = (ConnectionTrouble, Unavailable, StorageFull, KeyboardInterrupt)
    on_error: Literal["stop", "skip"] = options["on_error"]
    retries = Retries(total_s=options["retry_for"])
    key = options["key"] or str(uuid4())
    client = Client(url, model, api_key=api_key, retries=retries)
    with client, _Progress(file) as progress:
        try:
            for item in client.train_stream(file, loss=options["loss"], on_error=on_error, key=key):
                progress.show(item)
        except (SlimvecError, KeyboardInterrupt) as error:
            if isinstance(error, passing):
                click.echo(f"to go on, nothing done twice: the same command, --key {key}", err=True)
            if error is not progress.reported:
                raise
            sys.exit(1)


class _Progress:
    """A bar on a terminal, and one sentence at the end everywhere."""

    def __init__(self, file: TrainingFile) -> None:
        from tqdm import tqdm

        self.reported: SlimvecError | None = None
        self._num_refused = 0
        self._file = file
        self._last: Acknowledgement | None = None
        self._begin = monotonic()
        self._bar = tqdm(total=file.num_rows, unit=" rows", unit_scale=True, disable=None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.close()
        click.echo(self._summary())

    def show(self, item: Item) -> None:
        """Move on by what is settled; name the rows that were refused."""
        from app.client import Refused

        if isinstance(item, Refused):
            self._report(item)
            return
        self._last = item
        self._bar.set_postfix(loss=item.loss, version=item.version, refresh=False)
        self._bar.update(self._file.rows_until(item.ack) - self._bar.n)

    def _report(self, refused: Refused) -> None:
        self.reported = refused.error
        self._num_refused += 1
        rows = self._file.rows_of(refused.record)
        self._bar.clear()
        click.echo(
            f"refused: rows {rows.start} to {rows.stop - 1} (record {refused.record}): "
            f"{refused.error.placed}",
            err=True,
        )

    def _summary(self) -> str:
        rows = self._file.rows_until(self._last.ack) if self._last else 0
        rate = rows / max(monotonic() - self._begin, 1e-9)
        parts = [f"{rows} of {self._file.num_rows} rows, {rate:,.0f} rows/s"]
        if self._last is not None:
            parts.append(f"loss {self._last.loss:.6g}, version {self._last.version}")
        parts.append(f"{self._num_refused} records refused")
        return "; ".join(parts)
