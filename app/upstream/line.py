"""One question and one bounded answer over HTTP, asked again where that is safe."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import httpx
from tenacity import (
    AsyncRetrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_random_exponential,
)

from app import __version__
from app.errors import StartupError, UpstreamFailed

_ATTEMPTS = 3
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 1.0
_MAX_CONNECTIONS = 32
# Nothing came back: the connection was refused, or had been closed while it was idle. To ask for
# embeddings again changes nothing anywhere.
_SAFE_TO_REPEAT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.ReadError, httpx.WriteError,
                   httpx.RemoteProtocolError)  # fmt: skip


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """An answer as it came."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Line:
    """Asks one URL.

    Args:
        url: where; never one of a request.
        key: sent as a bearer token.
        timeout_s: longest wait for a whole answer, with all tries.

    Raises:
        StartupError: the URL or the key cannot be used.
    """

    def __init__(self, url: str, key: str | None, *, timeout_s: float) -> None:
        self._url = _checked(url)
        self._timeout_s = timeout_s
        self._http = httpx.AsyncClient(
            headers=_headers(key),
            timeout=timeout_s,
            limits=httpx.Limits(max_connections=_MAX_CONNECTIONS),
            follow_redirects=False,
            trust_env=False,  # no proxy and no .netrc: where it asks, and as whom, is a setting
            verify=httpx.create_ssl_context(trust_env=True),  # an operator's own authority
        )
        self._retrying = AsyncRetrying(
            retry=retry_if_exception_type(_SAFE_TO_REPEAT),
            stop=stop_after_attempt(_ATTEMPTS),
            wait=wait_random_exponential(multiplier=_FIRST_PAUSE_S, max=_LONGEST_PAUSE_S),
            reraise=True,
        )

    async def ask(self, question: bytes, *, max_bytes: int) -> RawAnswer:
        """The answer to a question, of whatever status.

        Raises:
            UpstreamFailed: none, none in time, or too long a one.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._retrying(self._ask_once, question, max_bytes)
        except (TimeoutError, httpx.TimeoutException):
            raise UpstreamFailed(
                "upstream_timeout", f"the upstream did not answer within {self._timeout_s:g} s"
            ) from None
        except httpx.HTTPError:
            raise UpstreamFailed(
                "upstream_unreachable", "the upstream cannot be reached; see SLIMVEC_UPSTREAM_URL"
            ) from None

    async def close(self) -> None:
        """Close every connection."""
        await self._http.aclose()

    async def _ask_once(self, question: bytes, max_bytes: int) -> RawAnswer:
        body = bytearray()
        async with self._http.stream("POST", self._url, content=question) as response:
            async for part in response.aiter_raw():  # as it came: nothing is ever inflated
                body += part
                if len(body) > max_bytes:
                    raise UpstreamFailed(
                        "upstream_malformed",
                        f"the upstream answers more than {max_bytes} bytes for such a request",
                    )
            return RawAnswer(response.status_code, response.headers, bytes(body))


def _headers(key: str | None) -> dict[str, str]:
    headers = {
        "content-type": "application/json",
        "accept": "application/json",
        "accept-encoding": "identity",
        "user-agent": f"slimvec/{__version__}",
    }
    if key is not None:
        if not (key.isascii() and key.isprintable()):
            raise StartupError(
                "settings_invalid", "--upstream-key: expected printable ASCII, got something else"
            )
        headers["authorization"] = f"Bearer {key}"
    return headers


def _checked(url: str) -> str:
    """The address of embeddings below the URL of the settings."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        parsed = httpx.URL()
    is_plain = not (parsed.userinfo or parsed.query or parsed.fragment)
    if parsed.scheme not in ("http", "https") or not parsed.host or not is_plain:
        raise StartupError(
            "settings_invalid",
            "--upstream-url: expected a URL like http://127.0.0.1:8080/v1, without user, query or "
            "fragment",
        )
    return f"{url.rstrip('/')}/embeddings"
