"""The process that listens: uvicorn, with our banner, drain and exit code."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import resource
import signal
import socket
from collections.abc import Callable
from functools import partial
from types import FrameType

import uvicorn

from app.api.asgi import App
from app.api.protocol.http import BoundedHttp
from app.api.protocol.limits import Limits
from app.api.protocol.short import ShortHttp
from app.api.streams.protocol import BoundedWebSocket
from app.errors import StartupError
from app.service import Service
from app.settings import Settings

_READY_POLL_S = 0.02
_PING_S = 20.0
_OTHER_DESCRIPTORS = 128  # files, threads' pipes, the models' journals

log = logging.getLogger("slimvec.server")


class Server(uvicorn.Server):
    """One server process.

    Args:
        app: the ASGI app.
        service: told at once when a signal asks for the end.
        settings: address and drain time.
        announce: called once with the URL, when the service is ready.

    Raises:
        StartupError: the address cannot be listened on.
    """

    def __init__(
        self, app: App, service: Service, settings: Settings, announce: Callable[[str], None]
    ) -> None:
        protocol = ShortHttp if settings.short_cycle else BoundedHttp
        limits = Limits.of(settings, max_connections=_descriptors_for(settings.max_connections))
        super().__init__(
            uvicorn.Config(
                app,
                host=settings.host,
                port=settings.port,
                http=partial(protocol, limits, service.admission),  # type: ignore[arg-type] # called as the class is
                ws=partial(BoundedWebSocket, service.admission),  # type: ignore[arg-type] # likewise
                ws_max_size=max(settings.max_json_body_bytes, settings.max_binary_body_bytes),
                ws_per_message_deflate=False,  # a small message could become a very large one
                ws_ping_interval=_PING_S,
                ws_ping_timeout=None,  # a sender that is held back has its pongs held back, too
                lifespan="on",
                backlog=limits.max_connections,
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,  # no peer is trusted to speak for another
                timeout_graceful_shutdown=math.ceil(settings.drain_timeout_s),
            )
        )
        self._service = service
        self._announce = announce
        self._announcing: asyncio.Task[None] | None = None
        self._socket = _listen(settings.host, settings.port)

    def run_until_stopped(self) -> None:
        """Serve; SIGTERM and SIGINT drain and return.

        uvicorn raises the signal again when it is done, so that its parent sees a death by signal;
        ours is an orderly end, so the handlers that it would raise into do nothing.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _ignore)
        self.run()

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve on the socket that was bound at construction, until told to exit."""
        with self._socket:
            super().run(sockets or [self._socket])

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then announce the URL as soon as the service is ready."""
        await super().startup(sockets)
        if not self.should_exit:
            self._announcing = asyncio.create_task(self._announce_when_ready())

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Refuse new train steps from the moment of the signal."""
        self._service.life.begin_drain()
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the open streams, then wait for every answer within the drain's time."""
        self.lifespan.state["streams"].end()
        await super().shutdown(sockets)

    async def _announce_when_ready(self) -> None:
        while self._service.life.phase == "starting":
            await asyncio.sleep(_READY_POLL_S)
        if self._service.life.phase == "failed":
            self.should_exit = True
        if self._service.life.phase == "ready":
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            self._announce(f"http://{f'[{host}]' if ':' in host else host}:{port}")


def _descriptors_for(connections: int) -> int:
    """How many connections there may be: as many as asked for, or as the process may open.

    Where the limit of descriptors can be raised, it is.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _OTHER_DESCRIPTORS
    if soft == resource.RLIM_INFINITY:
        return connections
    if soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft < wanted:
        log.warning(
            "max_connections: %d of the process's %d descriptors are left for them",
            soft - _OTHER_DESCRIPTORS,
            soft,
        )
    return min(connections, max(1, soft - _OTHER_DESCRIPTORS))


def _listen(host: str, port: int) -> socket.socket:
    """A bound socket.

    Raises:
        StartupError: `address_unavailable`.
    """
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        number = error.errno or 0  # negative for a name that cannot be resolved
        reason = os.strerror(number).lower() if number > 0 else "unknown host"
        raise StartupError(
            "address_unavailable",
            f"cannot listen on {host}:{port}: {reason}; choose another --host or --port",
        ) from None
    return listening


def _ignore(number: int, frame: FrameType | None) -> None:
    """Nothing more to do: the server is already draining."""
