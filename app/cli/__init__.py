"""The console script `slimvec`: one file a command.

| file | what it holds |
|---|---|
| `options.py` | settings as flags, and how a command ends in an error |
| `serve.py`, `import_.py`, `train.py` and all others | one command each |
| `api_key.py` | the key that a command sends to a server |

A new command: a file with one `@click.command()`, and its name in `_COMMANDS`.
"""

from __future__ import annotations

import click

from app import __version__
from app.cli.align import align
from app.cli.compare import compare
from app.cli.fit import fit
from app.cli.import_ import import_
from app.cli.journal import journal
from app.cli.keys import keys
from app.cli.options import read_settings
from app.cli.repair import repair
from app.cli.serve import serve
from app.cli.train import train
from app.cli.verify import verify

__all__ = ["main", "read_settings"]

_COMMANDS = (serve, import_, train, fit, compare, align, journal, verify, repair, keys)


@click.group()
@click.version_option(__version__)
def main() -> None:
    """Serve a trained reduction layer for embeddings, and keep training it."""


for _command in _COMMANDS:
    main.add_command(_command)
