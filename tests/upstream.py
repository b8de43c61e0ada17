"""A small real server that makes embeddings of text, and can be told to misbehave."""

from __future__ import annotations

import asyncio
import socket
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from threading import Event, Thread
from typing import Any

import numpy as np
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from numpy.typing import NDArray

Array = NDArray[np.float32]
Misbehave = Callable[[dict[str, Any]], Response | dict[str, Any] | None]


def embed(text: object, width: int) -> Array:
    """An embedding that depends on the text alone: the bytes of its hash, as numbers."""
    seed = int.from_bytes(sha256(repr(text).encode()).digest()[:8])
    return np.random.default_rng(seed).standard_normal(width, np.float32)


@dataclass(slots=True)
class FakeUpstream:
    """What the server is told, and what it saw.

    Attributes:
        url: up to `/v1`.
        name: what it calls its model.
        width: of its embeddings.
        batches, headers: of every request that came.
        misbehave: makes another answer; none for an ordinary one, a dict to put into that.
        is_base64: how embeddings are written; some servers do as they like.
        pause_s: how long the first answer takes.
        most_at_once: requests that were being answered at one time.
    """

    url: str = ""
    name: str = "tiny-embedder"
    width: int = 8
    batches: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    misbehave: Misbehave = lambda _: None
    is_base64: bool = True
    pause_s: float = 0.02
    at_once: int = 0
    most_at_once: int = 0

    async def answer(self, request: Request) -> Response:
        question = await request.json()
        self.batches.append(question)
        self.headers.append(dict(request.headers))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        # Later batches are answered first, so that order has to be made by whoever asked.
        await asyncio.sleep(self.pause_s / len(self.batches))
        self.at_once -= 1
        other = self.misbehave(question)
        if isinstance(other, Response):
            return other
        return JSONResponse(self._ordinary(question["input"]) | (other or {}))

    def _ordinary(self, inputs: list[Any]) -> dict[str, Any]:
        rows = [embed(text, self.width) for text in inputs]
        data = [
            {"object": "embedding", "index": index, "embedding": self._written(row)}
            for index, row in enumerate(rows)
        ]
        usage = {"prompt_tokens": 3 * len(inputs), "total_tokens": 3 * len(inputs)}
        # Not in order: the index says what is what.
        return {"object": "list", "data": data[::-1], "model": self.name, "usage": usage}

    def _written(self, row: Array) -> str | list[float]:
        return b64encode(row.tobytes()).decode() if self.is_base64 else row.tolist()


@contextmanager
def upstream(**told: Any) -> Iterator[FakeUpstream]:
    """Serve such an upstream on a free port of this machine."""
    fake, app = FakeUpstream(**told), FastAPI()
    app.add_api_route("/v1/embeddings", fake.answer, methods=["POST"])
    with serving_app(app) as url:
        fake.url = f"{url}/v1"
        yield fake


@contextmanager
def serving_app(app: Any) -> Iterator[str]:
    """Serve any ASGI app in a thread; the URL is ready when this enters."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = _Announcing(uvicorn.Config(app, log_config=None, lifespan="off"))
        thread = Thread(target=server.run, args=([listening],), name="upstream")
        thread.start()
        try:
            assert server.is_up.wait(60)
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = server.force_exit = True
            thread.join()


class _Announcing(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_up = Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.is_up.set()
