"""What can go wrong between client and server, beside the server's own refusals.

SlimvecError
└── ConnectionTrouble       no answer that means anything
    ├── Unreachable             nothing was sent
    ├── Interrupted             the request may or may not have been carried out
    └── NotUnderstood           something else than a Slimvec server answered
"""

from __future__ import annotations

from urllib.parse import urlsplit

import httpx

from app.errors import SlimvecError

_NOTHING_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.UnsupportedProtocol,
    httpx.ProxyError,
)


class ConnectionTrouble(SlimvecError):
    """There is no answer that means anything."""


class Unreachable(ConnectionTrouble):
    """No server could be reached; nothing was sent."""

    def __init__(self, detail: str) -> None:
        super().__init__("unreachable", detail)


class Interrupted(ConnectionTrouble):
    """The connection ended before the answer; whether the request was carried out is unknown."""

    def __init__(self, detail: str) -> None:
        super().__init__("interrupted", detail)


class NotUnderstood(ConnectionTrouble):
    """The answer is none that a Slimvec server gives."""

    def __init__(self, detail: str) -> None:
        super().__init__("not_understood", detail)


def trouble(error: httpx.RequestError) -> ConnectionTrouble:
    """The error of ours for one of httpx's."""
    place = error.request.url.netloc.decode("ascii")
    kind = type(error).__name__
    if isinstance(error, _NOTHING_SENT):
        return Unreachable(
            f"expected a server at {place}, could not reach one ({kind}); "
            "start it, or correct the URL"
        )
    if isinstance(error, httpx.TransportError):
        return Interrupted(
            f"expected an answer from {place}, the connection ended first ({kind}); "
            "look at the model's state before sending the same again without a key"
        )
    return NotUnderstood(f"expected an answer of a Slimvec server from {place}, got another one")


def check_url(url: str) -> str:
    """The URL itself, when it is one that a server can have.

    Raises:
        Unreachable: it has no http or https scheme, or no host.
    """
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        is_usable = False
    if not is_usable:
        raise Unreachable("expected a URL like http://127.0.0.1:8000, got another form; correct it")
    return url
