"""Listening the way Slimvec does: uvicorn, httptools, uvloop, one worker, no access log."""

from __future__ import annotations

from socket import socket
from typing import Any

import uvicorn


class _Announcing(uvicorn.Server):
    """Prints its URL when it listens."""

    async def startup(self, sockets: list[socket] | None = None) -> None:
        await super().startup(sockets)
        host, port = self.servers[0].sockets[0].getsockname()
        print(f"http://{host}:{port}", flush=True)


def listen(app: Any) -> None:  # uvicorn's own type for an app is a private union
    """Serve an ASGI app on a free port of this machine until a signal."""
    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=0,
        http="httptools",
        loop="uvloop",
        access_log=False,
        log_level="warning",
    )
    _Announcing(config).run()
