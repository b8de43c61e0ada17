"""The protocol of a connection: what a stranger may send, how much of it, and for how long.

uvicorn's parser callbacks, with limits around them. A refusal is an ordinary answer: the request
that earned it is passed on with the fault in `scope["fault"]`, or where its body is read; it waits
its turn behind the requests before it, and is counted, logged and written as every other. Behind
it nothing more is parsed.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast
from urllib.parse import unquote

from httptools import HttpParserError, HttpParserUpgrade, parse_url

from app.api.asgi import Scope
from app.api.errors import as_fault
from app.api.protocol.cycle import Cycle
from app.api.protocol.head import (
    NO_BODY,
    check_handshake,
    check_method,
    check_size,
    check_target,
    fault_of,
    head_too_large,
    read_framing,
    too_many_chunks,
)
from app.api.protocol.pace import Phase
from app.api.protocol.watched import WatchedHttp
from app.errors import Malformed, SlimvecError

# An unread rest up to this is read and thrown away; behind a larger one the connection closes.
_MAX_SKIPPED_BYTES = 1 << 20
_MAX_PIPELINED = 64
# The most bytes around a chunk that chunks of one byte need: size, line ends, a short extension.
_CHUNK_BYTES = 16


class BoundedHttp(WatchedHttp):
    """A connection; what it is made of is told at `WatchedHttp`.

    Attributes:
        is_last: whether it ends behind the answer that is being written.
    """

    cycle: Cycle

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.is_last = False
        self._is_stream = False
        self._framing = NO_BODY
        self._num_now = 0  # bytes being parsed
        self._num_fed = 0  # bytes of this head or body, without those that came with its beginning
        self._num_body = 0
        self._num_chunks = 0

    def data_received(self, data: bytes) -> None:
        """Parse what came, unless nothing more is read."""
        self._num_now = len(data)
        self.pace.heard = self.loop.time()
        if self.is_deaf:
            self.discard(self._num_now)
            return
        self._num_fed += self._num_now
        try:
            self.parser.feed_data(data)
            self._check_unfinished()
        except HttpParserUpgrade:
            self._upgrade()
        except SlimvecError as fault:
            self.refuse(fault)
        except HttpParserError as error:
            if not self.is_deaf:
                self.refuse(fault_of(error, data))

    def refuse(self, fault: Exception) -> None:
        """Answer with a refusal, in its turn, and read no more."""
        self.is_deaf = True
        if self.pace.phase is not Phase.BODY:
            self._refuse_head(fault)
        elif self.cycle.response_complete:
            self.finish()
        else:
            self.cycle.fault = as_fault(
                fault, request_id=cast(Scope, self.scope).get("request_id", "")
            )
            self.cycle.keep_alive = False
            self.cycle.message_event.set()

    @property
    def is_body_left(self) -> bool:
        """Whether more of the body is to come than is worth reading for nothing."""
        if self.pace.phase is not Phase.BODY or self._is_stream:
            return False
        length = self._framing.length
        return length is None or length > _MAX_SKIPPED_BYTES

    # A stream tells where it is

    def hold(self) -> None:
        """What came is worked on; the limits of a body hold for each record of a stream."""
        self._is_stream = True
        self.pace.begin_hold(self.loop.time())

    def note_records(self, *, has_ended: bool, has_begun: bool) -> None:
        """More is read: a record came to its end, or the next one has begun, or both."""
        self.pace.note_records(has_ended=has_ended, has_begun=has_begun, now=self.loop.time())
        if has_ended:
            self._num_chunks = self._num_fed = self._num_body = 0

    # The parser's callbacks

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._num_fed = 0
        self.pace.enter(Phase.HEAD, self.pace.heard)

    def on_url(self, url: bytes) -> None:
        """A piece of the target came."""
        self.url += url
        if len(self.url) > self.limits.max_url_bytes:
            check_size(self.url, (), self.limits)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header came; those behind a body are dropped: nobody reads them."""
        if self.pace.phase is Phase.HEAD:
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """The head is whole: refuse it, hand it to the WebSocket protocol, or begin to answer."""
        if self._num_now + self._num_fed > self.limits.max_header_bytes:
            check_size(self.url, self.headers, self.limits)
        scope, version = self.scope, self.parser.get_http_version()
        scope["method"], scope["http_version"] = self.parser.get_method().decode(), version
        check_method(scope["method"])
        self._framing = read_framing(self.headers, version)
        self._set_target()
        is_upgrade = self.parser.should_upgrade()
        if is_upgrade and self._should_upgrade():
            check_handshake(scope["method"], self._framing)
            return
        keeps_alive = version == "1.1" and not is_upgrade and self.parser.should_keep_alive()
        cycle = self._make_cycle(keeps_alive=keeps_alive)
        self.pace.enter(Phase.BODY, self.pace.heard)
        self.pace.has_asked = True
        self._is_stream = False
        self._num_fed = self._num_body = self._num_chunks = 0
        self.begin(cycle)

    def on_chunk_header(self) -> None:
        """Another chunk begins."""
        self._num_chunks += 1
        if self._num_chunks > self.limits.max_chunks:
            raise too_many_chunks(self.limits)

    def on_body(self, body: bytes) -> None:
        """A piece of the body came."""
        self._num_body += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        if self.pace.phase is Phase.BODY:
            super().on_message_complete()
            is_answered = self.cycle.response_complete
            self.pace.enter(Phase.IDLE if is_answered else Phase.ANSWER, self.pace.heard)

    def on_response_complete(self) -> None:
        """A request is answered: close, answer the one behind it, or wait for the next one."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if self.is_last or (self._is_stream and self.pace.phase is Phase.BODY):
            self.finish()
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
        elif self.pace.phase is Phase.ANSWER:
            self.pace.enter(Phase.IDLE, self.loop.time())

    # Requests

    def begin(self, cycle: Cycle) -> None:
        """Answer a request, behind those that are not answered yet."""
        before, self.cycle = self.cycle, cycle
        if before is None or before.response_complete:
            self._start_asgi_task(cycle, self.app)
        elif self.is_deaf or len(self.pipeline) < _MAX_PIPELINED:  # a refusal is the last one
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, self.app))
        else:
            self.is_deaf = True
            before.keep_alive = False
            raise Malformed("bad_request", "too many requests wait for their answers")

    def _make_cycle(self, *, keeps_alive: bool) -> Cycle:
        cycle = Cycle(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self._framing.is_expecting,
            keep_alive=keeps_alive,
            on_response=self.on_response_complete,
        )
        cycle.connection = self
        return cycle

    def _set_target(self) -> None:
        self.url = check_target(self.url, self.headers)  # the WebSocket protocol reads it again
        target = parse_url(self.url)
        path = target.path.decode("ascii")
        self.scope["path"] = unquote(path) if "%" in path else path
        self.scope["raw_path"] = target.path
        self.scope["query_string"] = target.query or b""
        self.scope["connection"] = self  # type: ignore[typeddict-unknown-key] # for a stream

    def _refuse_head(self, fault: Exception) -> None:
        if self.pace.phase is not Phase.HEAD:
            self.on_message_begin()  # so early is the fault that the parser saw no request
        path = self.url.partition(b"?")[0].decode("latin-1")
        for key, value in (("method", ""), ("path", path), ("query_string", b"")):
            self.scope.setdefault(key, value)  # type: ignore[misc] # a TypedDict wants literals
        self.scope["fault"] = fault  # type: ignore[typeddict-unknown-key] # ours
        self._framing = NO_BODY
        self.pace.enter(Phase.BODY, self.loop.time())
        self.begin(self._make_cycle(keeps_alive=False))

    def _upgrade(self) -> None:
        if self.pace.phase is not Phase.HEAD:  # another protocol than WebSocket: answered in HTTP
            self.is_deaf = True
        elif self.cycle is None or self.cycle.response_complete:
            self.handle_websocket_upgrade()
        else:
            self.refuse(Malformed("bad_request", "expected an upgrade as the only request"))

    # Limits and time

    def _check_unfinished(self) -> None:
        """Bound what the parser keeps to itself until it is whole."""
        limits = self.limits
        if self.pace.phase is Phase.HEAD:
            if self._num_fed > limits.max_header_bytes + limits.max_url_bytes:
                raise head_too_large(limits)
        elif self.pace.phase is Phase.BODY and self._framing.length is None:
            around = self._num_fed - self._num_body
            if around > limits.max_header_bytes + _CHUNK_BYTES * self._num_chunks:
                raise head_too_large(limits)
