"""The outermost layer: gives each request an id and a clock, and answers every refusal.

Pure ASGI: a `BaseHTTPMiddleware` costs three to six times the throughput.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from itertools import count
from time import perf_counter

from app.api.answer import ALWAYS, Answer, Headers, Stamped, timing
from app.api.asgi import App, ClientGone, Message, Receive, Scope, Send, declared_bytes, headers_of
from app.api.cost import weight_of
from app.api.edge import Edge, RawRoute
from app.api.errors import as_fault, render
from app.api.security import PAGE, PAGE_HEADERS
from app.errors import Unavailable
from app.service import Ticket
from app.telemetry import Metrics

log = logging.getLogger("slimvec.access")

_ENDED = Unavailable(
    "outcome_unknown",
    "the server ended before this was settled; ask its state after the restart, then decide",
)
_BEGINNINGS = ("http.response.start", "websocket.accept")
_ENDS = ("http.response.body", "websocket.close")
_PAGE = Headers(PAGE_HEADERS)
_ID_HEADERS = (b"request-id", b"x-request-id")
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")


class RequestContext:
    """Adds `Request-Id` and `Server-Timing`, counts, logs, and turns errors into problems.

    Args:
        app: everything behind.
        edge: the gate before it, the admission, the counters.
        find: the route and model of a request whose answer is one whole; None for any other.
    """

    def __init__(
        self,
        app: App,
        edge: Edge,
        find: Callable[[Scope], tuple[RawRoute, str] | None] = lambda _: None,
    ) -> None:
        self._app = app
        self._edge = edge
        self.find = find
        self._gate = edge.gate
        self._admission = edge.service.admission
        limits = edge.settings
        self._max_body_bytes = max(limits.max_json_body_bytes, limits.max_binary_body_bytes)
        self._metrics = edge.metrics
        self._log_every_request = edge.settings.access_log
        self._ids = map(f"{os.urandom(4).hex()}{{:08x}}".format, count())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; stamp, count and log its answer."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
        elif (found := self.find(scope)) is not None:
            if (answer := await self.answer(*found, scope, receive)) is not None:
                await _send_answer(send, answer)
        elif scope["type"] == "websocket":
            await self._pass_on(scope, receive, _refusing_with_http(send))
        else:
            await self._pass_on(scope, receive, send)

    async def answer(
        self, route: RawRoute, model: str, scope: Scope, receive: Receive
    ) -> Stamped | None:
        """The whole answer to a request, also where it is a refusal; None: the client has gone."""
        started = perf_counter()
        request_id = self._name(scope)
        try:
            with self._admit(scope):
                answer = await route(self._edge, model, scope, receive)
        except ClientGone:
            self._finish(scope, 499, perf_counter() - started)
            return None
        except asyncio.CancelledError:  # the drain's time is over
            answer = refuse(_ENDED, scope, self._metrics)
        except Exception as error:  # the edge: answer the waiter, log once
            answer = refuse(error, scope, self._metrics)
        elapsed_s = perf_counter() - started
        self._finish(scope, answer.status, elapsed_s)
        return Stamped(answer, request_id, elapsed_s)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = perf_counter()
        request_id = self._name(scope)
        status, is_answered, elapsed_s = 0, False, None

        async def send_stamped(message: Message) -> None:
            nonlocal status, is_answered, elapsed_s
            if message["type"] in _BEGINNINGS:
                status = message.get("status", 101)
                elapsed_s = perf_counter() - started
                message["headers"] = [
                    *message.get("headers", ()),
                    (b"request-id", request_id.encode()),
                    (b"server-timing", timing(elapsed_s)),
                    *(_PAGE if scope["path"] == PAGE else ALWAYS).pairs,
                ]
            await send(message)
            is_answered = message["type"] in _ENDS and not message.get("more_body")

        async def send_refusal(error: Exception) -> None:
            answer = refuse(error, scope, self._metrics)
            stamped = Stamped(answer, request_id, perf_counter() - started)
            nonlocal status
            status = answer.status
            await _send_answer(send, stamped)

        try:
            with self._admit(scope):
                await self._app(scope, receive, send_stamped)
        except ClientGone:
            status = 499
        except asyncio.CancelledError:
            if not status:  # the drain's time is over
                await send_refusal(_ENDED)
        except Exception as error:  # the edge: answer the waiter, log once
            # The framework raises again what it has answered and logged already.
            if status and not is_answered:
                raise  # half an answer is out: only closing the connection can say so
            if not status:
                await send_refusal(error)
        finally:
            # A stream's answer begins at once, and how long it lasts is its sender's business.
            self._finish(scope, status, elapsed_s or perf_counter() - started)

    def _name(self, scope: Scope) -> str:
        """The request's id: the client's own when it is a harmless word, else a new one."""
        headers = headers_of(scope)
        for name in _ID_HEADERS:
            if (offered := headers.get(name)) and _REQUEST_ID.fullmatch(offered):
                request_id = offered.decode()
                break
        else:
            request_id = next(self._ids)
        scope["request_id"] = request_id
        return request_id

    def _admit(self, scope: Scope) -> AbstractContextManager[Ticket | None]:
        """The ticket of a request that may be asked; a look, or a probe, needs none."""
        if (fault := scope.get("fault")) is not None:  # in its head; see `api/protocol/http.py`
            raise fault
        self._gate.check(scope)
        if scope.get("method") == "GET":
            return nullcontext()
        # More than the largest body is refused where the body is read, with the limit.
        num_bytes = min(declared_bytes(scope), self._max_body_bytes)
        ticket = self._admission.admit(num_bytes, weight=weight_of(scope))
        scope["ticket"] = ticket
        return ticket

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
                    "key": scope.get("sender", ""),
                    "ms": round(elapsed_s * 1e3, 3),
                },
            )


def refuse(error: Exception, scope: Scope, metrics: Metrics) -> Answer:
    """The answer to an error."""
    request_id = scope["request_id"]
    fault = as_fault(error, request_id=request_id)
    scope["refusal"] = fault.code
    metrics.refusals.labels(fault.code).inc()
    status, headers, body = render(fault, request_id, scope["path"])
    return Answer(body, headers, status)


def _refusing_with_http(send: Send) -> Send:
    """Answers to a WebSocket's handshake are those of HTTP, under names of their own."""

    async def send_named(message: Message) -> None:
        if message["type"].startswith("http."):
            message["type"] = f"websocket.{message['type']}"
        await send(message)

    return send_named


async def _send_answer(send: Send, answer: Stamped) -> None:
    """Write an answer as ASGI wants it."""
    head = {"type": "http.response.start", "status": answer.status, "headers": answer.pairs()}
    await send(head)
    await send({"type": "http.response.body", "body": answer.body})
