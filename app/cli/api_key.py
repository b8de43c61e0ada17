"""The API key that a command sends: from a file or a variable, never from an argument."""

from __future__ import annotations

import os
from pathlib import Path

import click

from app.errors import StartupError
from app.settings import ENV_PREFIX

VARIABLE = f"{ENV_PREFIX}API_KEY"
_MAX_BYTES = 4096

api_key_option = click.option(
    "--api-key-file",
    type=click.Path(path_type=Path),
    help=f"a file with the API key for the server [or the key itself in {VARIABLE}]",
)


def read_api_key(file: Path | None) -> str | None:
    """The key in the file, else the one in the variable, else none.

    Raises:
        StartupError: the file cannot be read, or holds something else than one key.
    """
    if file is None:
        return os.environ.get(VARIABLE, "").strip() or None
    try:
        with file.open("rb") as stream:
            text = stream.read(_MAX_BYTES).decode("ascii").strip()
    except (OSError, UnicodeDecodeError):
        text = ""
    if not text or not text.isprintable() or " " in text:
        raise StartupError(
            "settings_invalid",
            f"--api-key-file: expected a file with one API key, got none in {file}",
        )
    return text
