"""The upper bound: reads the whole body, answers as many bytes as the path says."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any

from benchmarks.servers.listen import listen


async def app(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """`POST /4096` is answered with 4096 bytes."""
    assert scope["type"] == "http"
    parts = []
    more = True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    b"".join(parts)  # a server that computes needs the body in one piece
    answer = _answer(scope["path"])
    length = str(len(answer)).encode()
    headers = [(b"content-type", b"application/octet-stream"), (b"content-length", length)]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


@cache
def _answer(path: str) -> bytes:
    return b"x" * int(path[1:])


if __name__ == "__main__":
    listen(app)
