"""What commands share: settings as flags, and how a command ends in an error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from app.allowed import schema_of
from app.errors import SlimvecError, StartupError
from app.faults import first_fault
from app.settings import ENV_PREFIX, Settings

Command = Callable[..., None]


def settings_options(command: Command) -> Command:
    """Give a command one flag for every setting."""
    for name in reversed(Settings.model_fields):
        command = setting_option(name)(command)
    return command


def setting_option(name: str) -> Callable[[Command], Command]:
    """The flag of one setting."""
    field: FieldInfo = Settings.model_fields[name]
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
        fault = first_fault(error, schema_of(Settings))
        name = fault.pointer.strip("/")
        raise StartupError(
            "settings_invalid",
            f"--{name.replace('_', '-')} (or {ENV_PREFIX}{name.upper()}): {fault.told}; "
            f"it is the {_described(name)}",
        ) from None


@contextmanager
def errors_as_exit_codes() -> Iterator[None]:
    """End the process on an error of ours: its sentence on standard error, its exit code."""
    try:
        yield
    except SlimvecError as error:
        click.echo(f"slimvec: {error.placed}", err=True)
        sys.exit(error.exit_code if isinstance(error, StartupError) else 1)


def _described(name: str) -> str:
    field = Settings.model_fields.get(name)
    return f"setting for: {field.description}" if field else "name of no setting"
