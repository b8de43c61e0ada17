"""The outermost layer: gives each request an id and a clock, and answers every refusal.

Pure ASGI: a `BaseHTTPMiddleware` costs three to six times the throughput.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
from time import perf_counter

from app.api.asgi import (
    Answer,
    App,
    ClientGone,
    Message,
    Receive,
    Scope,
    Send,
    declared_bytes,
    send_answer,
)
from app.api.edge import Edge
from app.api.errors import render
from app.errors import SlimvecError, Unavailable
from app.telemetry import Metrics

log = logging.getLogger("slimvec.access")

_ENDED = Unavailable(
    "outcome_unknown",
    "the server ended before this was settled; ask its state after the restart, then decide",
)
_BEGINNINGS = ("http.response.start", "websocket.accept")
_ENDS = ("http.response.body", "websocket.close")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class RequestContext:
    """Adds `Request-Id` and `Server-Timing`, counts, logs, and turns errors into problems.

    Args:
        app: everything behind.
        edge: the gate before it, the admission, the counters.
    """

    def __init__(self, app: App, edge: Edge) -> None:
        self._app = app
        self._gate = edge.gate
        self._admission = edge.service.admission
        limits = edge.settings
        self._max_body_bytes = max(limits.max_json_body_bytes, limits.max_binary_body_bytes)
        self._metrics = edge.metrics
        self._log_every_request = edge.settings.access_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; stamp, count and log its answer."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        if scope["type"] == "websocket":
            send = _refusing_with_http(send)
        started = perf_counter()
        request_id = _request_id(scope)
        scope["request_id"] = request_id
        status, is_answered, elapsed_s = 0, False, None

        async def send_stamped(message: Message) -> None:
            nonlocal status, is_answered, elapsed_s
            if message["type"] in _BEGINNINGS:
                status = message.get("status", 101)
                elapsed_s = perf_counter() - started
                message["headers"] = [
                    *message.get("headers", ()),
                    (b"request-id", request_id.encode()),
                    (b"server-timing", f"total;dur={elapsed_s * 1e3:.3f}".encode()),
                    (b"x-content-type-options", b"nosniff"),
                ]
            await send(message)
            is_answered = message["type"] in _ENDS and not message.get("more_body")

        try:
            self._gate.check(scope)
            # More than the largest body is refused where the body is read, with the limit.
            num_bytes = min(declared_bytes(scope), self._max_body_bytes)
            with self._admission.admit(num_bytes) as scope["ticket"]:
                await self._app(scope, receive, send_stamped)
        except ClientGone:
            status = 499
        except asyncio.CancelledError:
            if not status:  # the drain's time is over
                await send_answer(send_stamped, refuse(_ENDED, scope, self._metrics))
        except Exception as error:  # the edge: answer the waiter, log once
            # The framework raises again what it has answered and logged already.
            if status and not is_answered:
                raise  # half an answer is out: only closing the connection can say so
            if not status:
                await send_answer(send_stamped, refuse(error, scope, self._metrics))
        finally:
            # A stream's answer begins at once, and how long it lasts is its sender's business.
            self._finish(scope, status, elapsed_s or perf_counter() - started)

    def _finish(self, scope: Scope, status: int, elapsed_s: float) -> None:
        self._metrics.observe(status, elapsed_s)
        is_refusal = status >= 400 and not scope["path"].startswith("/health/")
        if is_refusal or self._log_every_request:
            log.info(
                "request",
                extra={
                    "request_id": scope["request_id"],
                    "method": scope.get("method", "GET"),  # a WebSocket's is not told
                    "path": scope["path"][:256],
                    "status": status,
                    "code": scope.get("refusal", ""),
                    "ms": round(elapsed_s * 1e3, 3),
                },
            )


def refuse(error: Exception, scope: Scope, metrics: Metrics) -> Answer:
    """The answer to an error; a fault of ours is logged here, once, and stays inside."""
    request_id = scope["request_id"]
    if not isinstance(error, SlimvecError):
        log.error("unexpected error", exc_info=error, extra={"request_id": request_id})
        error = SlimvecError("internal", "the server failed; the request id finds it in the log")
    scope["refusal"] = error.code
    metrics.refusals.labels(error.code).inc()
    status, headers, body = render(error, request_id, scope["path"])
    return Answer(body, headers, status)


def _refusing_with_http(send: Send) -> Send:
    """Answers to a WebSocket's handshake are those of HTTP, under names of their own."""

    async def send_named(message: Message) -> None:
        if message["type"].startswith("http."):
            message["type"] = f"websocket.{message['type']}"
        await send(message)

    return send_named


def _request_id(scope: Scope) -> str:
    """The client's own id when it is a harmless word, else a random one."""
    for key, value in scope["headers"]:
        if key in (b"request-id", b"x-request-id"):
            text: str = value.decode("latin-1")
            if _REQUEST_ID.fullmatch(text):
                return text
    return os.urandom(8).hex()
