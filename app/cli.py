"""The console script `slimvec`: one command a verb of the operator."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from app import __version__
from app.errors import SlimvecError, StartupError
from app.faults import first_fault
from app.settings import ENV_PREFIX, Settings

if TYPE_CHECKING:
    from app.main import Assembly
    from app.service import Service

log = logging.getLogger("slimvec.cli")


@click.group()
@click.version_option(__version__)
def main() -> None:
    """Serve a trained reduction layer for embeddings, and keep training it."""


def settings_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command one flag for every setting."""
    for name, field in reversed(Settings.model_fields.items()):
        command = _option(name, field)(command)
    return command


def _option(name: str, field: FieldInfo) -> Callable[[Callable[..., None]], Callable[..., None]]:
    flag = "--" + name.replace("_", "-")
    text = f"{field.description} [{ENV_PREFIX}{name.upper()}; default: {field.default}]"
    if field.annotation is bool:
        return click.option(f"{flag}/--no-{flag[2:]}", name, default=None, help=text)
    return click.option(flag, name, metavar="VALUE", help=text)


def read_settings(given: dict[str, Any]) -> Settings:
    """Settings from flags, then variables, then defaults.

    Raises:
        StartupError: a value is not acceptable; the sentence names flag and variable.
    """
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        fault = first_fault(error)
        name = fault.pointer.strip("/")
        raise StartupError(
            "settings_invalid",
            f"--{name.replace('_', '-')} (or {ENV_PREFIX}{name.upper()}): {fault.sentence}, "
            f"got {error.errors()[0]['input']!r}; it is the {_described(name)}",
        ) from None


def _described(name: str) -> str:
    field = Settings.model_fields.get(name)
    return f"setting for: {field.description}" if field else "name of no setting"


@main.command()
@settings_options
def serve(**given: Any) -> None:
    """Serve the models, and train them while serving."""
    try:
        _serve(read_settings(given))
    except SlimvecError as error:
        _fail(error)


@main.command("import")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--name", required=True, help="the new model's name")
@_option("models_dir", Settings.model_fields["models_dir"])
def import_(path: Path, name: str, **given: Any) -> None:
    """Make a model from trained weights: a state_dict (.pt) or a .safetensors file."""
    from app.main import import_layer

    try:
        layer = import_layer(read_settings(given), path, name)
    except SlimvecError as error:
        _fail(error)
    click.echo(
        f"model {name}: {layer.summary}; serve it with: slimvec serve --default-model {name}"
    )


def _serve(settings: Settings) -> None:
    # Until the server listens for it: as process 1 of a container, an unhandled SIGTERM is ignored.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    # torch takes seconds to import: `--help` and a mistyped flag should not wait for it.
    from app.api.server import Server
    from app.main import build
    from app.telemetry import configure_logging

    configure_logging(settings.log_level, settings.log_format)
    assembly = build(settings)
    with assembly.resources:
        server = Server(
            assembly.app,
            assembly.service,
            assembly.settings,
            announce=lambda url: _announce(assembly, url),
        )
        server.run_until_stopped()
    _check_end(assembly.service)


def _check_end(service: Service) -> None:
    """Exit with 1 when the server ended without what it promised."""
    if service.phase == "failed":
        raise StartupError("start_failed", "the start failed; the log says why", exit_code=1)
    if not service.is_saved:
        raise StartupError(
            "not_saved", "the last checkpoint could not be written; the log says why", exit_code=1
        )


def _announce(assembly: Assembly, url: str) -> None:
    text = banner(assembly, url)
    if assembly.settings.log_format == "json":
        log.info(text)  # where a machine reads, also the banner is a record
    else:
        click.echo(text, err=True)


def banner(assembly: Assembly, url: str) -> str:
    """What an operator sees when the server is ready."""
    service, name = assembly.service, assembly.settings.default_model
    described = {summary.model: summary for summary in service.summaries()}
    if name in service.models.not_loaded:
        line = f"{name} could not be loaded, see below"
    elif (model := described.get(name)) is None:
        line = f"{name} is not there; create it with PUT /models/{name}"
    else:
        line = f"{name}  {model.input_size} → {model.n_components}  version {model.version}"
    lines = [
        f"Slimvec {__version__}  {url}  (docs: {url}/docs)",
        f"  device   {service.device.name} ({service.device.reason})",
        f"  default  {line}",
        *(f"  damaged  {fault}" for fault in service.models.not_loaded.values()),
        f"  models   {', '.join(described) or 'none'}",
    ]
    return "\n".join(lines)


def _fail(error: SlimvecError) -> NoReturn:
    click.echo(f"slimvec: {error.detail}", err=True)
    sys.exit(error.exit_code if isinstance(error, StartupError) else 1)
