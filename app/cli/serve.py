"""`slimvec serve`: the server, from its banner to its exit code."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

import click

from app import __version__
from app.cli.options import errors_as_exit_codes, read_settings, settings_options
from app.errors import StartupError
from app.failpoints import arm
from app.settings import ENV_PREFIX, Settings

if TYPE_CHECKING:
    from app.main import Assembly
    from app.service import Service

log = logging.getLogger("slimvec.cli")

# Measured beside a trainer at full speed: p99 of a one-row reduce 1.38 -> 1.19 ms, of 32 rows
# 2.39 -> 1.92 ms; the rate of training is the same.
_SWITCH_INTERVAL_S = 0.0005


@click.command()
@settings_options
@click.option("--with-failpoints", is_flag=True, hidden=True)
def serve(*, with_failpoints: bool, **given: Any) -> None:
    """Serve the models, and train them while serving."""
    with errors_as_exit_codes():
        if with_failpoints:
            arm(os.environ.get(f"{ENV_PREFIX}FAILPOINTS", ""))
        _serve(read_settings(given))


def _serve(settings: Settings) -> None:
    # Until the server listens for it: as process 1 of a container, an unhandled SIGTERM is ignored.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    # torch takes seconds to import: `--help` and a mistyped flag should not wait for it.
    from app.api.server import Server
    from app.main import build
    from app.telemetry import configure_logging

    configure_logging(settings.log_level, settings.log_format)
    # A trainer in Python code holds the interpreter for up to 5 ms before readers get a turn.
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    assembly = build(settings)
    # What is imported by now stays, and no full collection looks at it again. Measured: one of them
    # stopped all threads for 0.3 s. Models are loaded later: a deleted one gives its memory back.
    gc.freeze()
    if (keys := assembly.keys) is not None:
        signal.signal(signal.SIGHUP, lambda *_: keys.look_at_once())
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
    if service.life.phase == "failed":
        raise StartupError("start_failed", "the start failed; the log says why", exit_code=1)
    if not service.life.is_saved:
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
