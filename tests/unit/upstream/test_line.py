"""The line to the upstream: what it asks again, and where it may ask at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from app.errors import StartupError, UpstreamFailed
from app.upstream.line import Line, RawAnswer

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


class Closing:
    """A server that ends connections without an answer, and then answers.

    Args:
        refusals: connections that it ends.
    """

    def __init__(self, refusals: int) -> None:
        self.refusals = refusals
        self.num_asked = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"question")
        self.num_asked += 1
        if self.num_asked > self.refusals:
            writer.write(_ANSWER)
        await writer.drain()
        writer.close()
        await writer.wait_closed()


async def _ask(server: Callable[..., object]) -> RawAnswer:
    listening = await asyncio.start_server(server, "127.0.0.1", 0)  # type: ignore[arg-type] # a callable object
    port = listening.sockets[0].getsockname()[1]
    line = Line(f"http://127.0.0.1:{port}/v1", None, timeout_s=30)
    async with listening:
        try:
            return await line.ask(b"question", max_bytes=100)
        finally:
            await line.close()


@pytest.mark.parametrize("refusals", [0, 1, 2])
def test_a_connection_that_ends_without_an_answer_is_tried_again(refusals: int) -> None:
    server = Closing(refusals)
    assert asyncio.run(_ask(server)).body == b"{}"
    assert server.num_asked == refusals + 1


def test_the_third_try_is_the_last() -> None:
    server = Closing(9)
    with pytest.raises(UpstreamFailed) as raised:
        asyncio.run(_ask(server))
    assert (raised.value.code, server.num_asked) == ("upstream_unreachable", 3)


@pytest.mark.parametrize(
    "url",
    ["", "127.0.0.1", "ftp://host/v1", "http://", "http:///v1", "http://user:secret@host/v1",
     "http://host/v1?a=b", "http://host/v1#a", "http://[::1/v1", "file:///etc/passwd"],
)  # fmt: skip
def test_a_url_that_is_no_address_of_a_server_is_refused_at_the_start(url: str) -> None:
    with pytest.raises(StartupError) as raised:
        Line(url, None, timeout_s=1)
    assert raised.value.code == "settings_invalid"
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("key", ["a\r\nb: c", "schlüssel"])
def test_a_key_that_no_header_can_hold_is_refused_at_the_start(key: str) -> None:
    with pytest.raises(StartupError) as raised:
        Line("http://host/v1", key, timeout_s=1)
    assert key not in str(raised.value)


def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert asyncio.run(_ask(Closing(0))).status == 200
