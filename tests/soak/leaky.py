"""`python -m tests.soak.leaky serve …`: the same server with a leak, so that the soak can fail."""

from __future__ import annotations

import os
from typing import Any, cast

import click

from app.api.asgi import Receive, Scope, Send
from app.api.context import RequestContext
from app.api.server import Server
from app.cli.options import read_settings, settings_options
from app.cli.serve import banner
from app.main import build

LEAKED_BYTES = 1024


class Leaky:
    """Keeps as many bytes of every request for ever, whichever of the two ways it takes.

    Args:
        app: the server's own.
    """

    def __init__(self, app: RequestContext) -> None:
        self._app = app
        self._kept: list[bytes] = []
        self.answer = app.answer

    def find(self, scope: Scope) -> Any:
        """What the short cycle asks first; it answers without a call of the app."""
        found = self._app.find(scope)
        if found is not None:
            self._leak()
        return found

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            self._leak()
        await self._app(scope, receive, send)

    def _leak(self) -> None:
        self._kept.append(os.urandom(LEAKED_BYTES))


@click.command()
@click.argument("command")
@settings_options
def main(*, command: str, **given: Any) -> None:
    """Serve with a leak; `command` is always `serve`, as of the sound one."""
    assembly = build(read_settings(given))
    with assembly.resources:
        Server(
            Leaky(cast(RequestContext, assembly.app)),  # by composition
            assembly.service,
            assembly.settings,
            announce=lambda url: click.echo(banner(assembly, url), err=True),
        ).run_until_stopped()


if __name__ == "__main__":
    main()
