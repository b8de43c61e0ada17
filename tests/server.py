"""The real server on a free port of this machine, for the tests that speak HTTP."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPResponse
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import httpx

from app.api.server import Server
from app.main import build
from app.service import Service
from app.settings import Settings

_START_S = 60
Config = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningServer:
    """A server that is ready; `http` speaks to it, `service` is what it serves with."""

    url: str
    models_dir: Path
    service: Service
    http: httpx.Client


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """An answer read from a plain socket."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@contextmanager
def serving(models_dir: Path, **settings: Any) -> Iterator[RunningServer]:
    """Serve a models directory in a thread; leaving drains, checkpoints and gives it back.

    Args:
        models_dir: a copy; the repository's own models are never served.
        settings: fields of `Settings` other than a free port on the loopback and the CPU.
    """
    given = {"default_model": "small", "device": "cpu", **settings}
    assembly = build(Settings(models_dir=models_dir, port=0, **given))
    announced: Queue[str] = Queue()
    with assembly.resources:
        server = Server(assembly.app, assembly.service, assembly.settings, announced.put)
        thread = Thread(target=server.run, name="server")
        thread.start()
        try:
            url = announced.get(timeout=_START_S)
            with httpx.Client(base_url=url, timeout=60) as http:
                http.get("/health/ready").raise_for_status()
                yield RunningServer(
                    url=url, models_dir=models_dir, service=assembly.service, http=http
                )
        finally:
            server.should_exit = True
            thread.join()


def declare(input_size: int, n_components: int, **fields: Any) -> Config:
    """The config of a plain model with one layer; `layer` adds arguments of the layer."""
    layer = {"type": "QRReduction", "n_components": n_components, **fields.pop("layer", {})}
    return {"input_size": input_size, "layers": [layer], "recipe": "plain", **fields}


def create(server: RunningServer, name: str, document: Config) -> None:
    """Create a model over HTTP."""
    answer = server.http.put(f"/models/{name}", json=document)
    assert answer.status_code == 201, answer.text


def raw_request(
    server: RunningServer,
    target: str,
    *,
    method: str = "GET",
    headers: tuple[tuple[str, str], ...] = (),
    body: bytes = b"",
) -> RawAnswer:
    """Send exactly these bytes, as no client library would: odd targets, repeated headers."""
    parts = urlsplit(server.url)
    lines = [f"{method} {target} HTTP/1.1", f"Host: {parts.netloc}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers]
    lines += [f"Content-Length: {len(body)}", "", ""]
    with socket.create_connection((parts.hostname, parts.port), timeout=60) as connection:
        connection.sendall("\r\n".join(lines).encode() + body)
        with HTTPResponse(connection, method=method) as response:
            response.begin()
            return RawAnswer(response.status, dict(response.headers), response.read())
