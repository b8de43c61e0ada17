"""The short cycle: a hot request answered in the parser's callback, without a task or messages.

The same route runs behind the same context as over ASGI, and the answers are the same bytes
(`tests/e2e/test_short_cycle.py`). Whatever is unusual goes uvicorn's way: chunks, an Expect, a
request behind one that is not answered yet, a peer that does not read.

Note [Without a task]
A task costs more than a small product. So the coroutine of an answer is driven by hand: most never
wait, and when one does, it goes on in a callback of what it waits for. Nothing in a hot route may
ask for its task (`asyncio.timeout`, anyio); `cancel` does what cancelling a task would.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from typing import TYPE_CHECKING, Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from app.api.answer import Stamped
from app.api.asgi import Message, Scope
from app.api.context import RequestContext
from app.api.protocol.http import BoundedHttp
from app.errors import SlimvecError

if TYPE_CHECKING:
    from app.api.protocol.cycle import Cycle


class ShortHttp(BoundedHttp):
    """A connection that answers hot requests by itself; its app is a `RequestContext`."""

    _default_headers: object = None
    _default_lines = b""

    def data_received(self, data: bytes) -> None:
        """Parse what came; a body that is still to come is asked for."""
        super().data_received(data)
        cycle: object = self.cycle
        if type(cycle) is ShortCycle and not cycle.has_begun:
            cycle.advance()

    def begin(self, cycle: Cycle) -> None:
        """Answer a request; a short one begins when its body is there or to be waited for."""
        if isinstance(cast(object, cycle), ShortCycle):
            self.cycle = cycle
        else:
            super().begin(cycle)

    def on_body(self, body: bytes) -> None:
        """A piece of the body came."""
        cycle: object = self.cycle
        if type(cycle) is ShortCycle:
            self._num_body += len(body)
            cycle.take(body)
        else:
            super().on_body(body)

    def _make_cycle(self, *, keeps_alive: bool) -> Cycle:
        length = self._framing.length
        is_free = self.cycle is None or self.cycle.response_complete
        if is_free and length is not None and not self._framing.is_expecting:
            context, scope = cast(RequestContext, self.app), cast(Scope, self.scope)
            found = None if self.flow.write_paused else context.find(scope)
            if found is not None:
                cycle = ShortCycle(self, keeps_alive=keeps_alive)
                cycle.work = context.answer(*found, scope, cycle.receive)
                # It has what a connection uses of uvicorn's, and none of its cost.
                return cast("Cycle", cycle)
        return super()._make_cycle(keeps_alive=keeps_alive)

    def default_lines(self) -> bytes:
        """The headers that uvicorn adds to every answer (the date); rendered when they change."""
        headers = self.server_state.default_headers
        if headers is not self._default_headers:
            self._default_headers = headers
            self._default_lines = b"".join([b"%b: %b\r\n" % pair for pair in headers])
        return self._default_lines


class ShortCycle:
    """One hot request and its answer.

    Note [Copies of a body]
    The kernel's copy into the event loop, the loop's into bytes and the parser's slice of those
    are the platform's. Behind them a body that came in one piece is not copied again, neither
    here nor by a codec of a binary format; one that came in several is copied once, to be whole.

    Args:
        connection: where it came from and goes to.
        keeps_alive: whether the connection stays open behind the answer.

    Attributes:
        work: makes the answer.
        has_begun: whether the work has.
        keep_alive, disconnected, more_body, response_complete, fault: as of a `Cycle`.
    """

    __slots__ = (
        "_arrival",
        "_body",
        "_connection",
        "_waits_for",
        "disconnected",
        "fault",
        "has_begun",
        "keep_alive",
        "more_body",
        "response_complete",
        "work",
    )

    work: Coroutine[Any, None, Stamped | None]

    def __init__(self, connection: ShortHttp, *, keeps_alive: bool) -> None:
        self._connection = connection
        self._body: bytes | bytearray = b""
        self._arrival: asyncio.Future[None] | None = None
        self._waits_for: asyncio.Future[Any] | None = None
        self.has_begun = self.disconnected = self.response_complete = False
        self.more_body = True
        self.fault: SlimvecError | None = None
        self.keep_alive = keeps_alive

    @property
    def message_event(self) -> ShortCycle:
        """Told when something came; an attribute would make every request cyclic garbage."""
        return self

    # What comes

    def take(self, body: bytes) -> None:
        """Keep a piece of the body; see Note [Copies of a body]."""
        if self.response_complete:
            return
        if not self._body:
            self._body = body
            return
        if type(self._body) is bytes:
            self._body = bytearray(self._body)
        self._body += body

    def set(self) -> None:
        """The body is whole, will not come, or its sender has gone: go on with the work."""
        if self.response_complete:
            return
        if not self.has_begun:
            self.advance()
        elif self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)
            self.advance()

    def receive(self) -> ShortCycle:
        """The whole body, when it is awaited."""
        return self

    def __await__(self) -> Generator[Any, None, Message]:
        """Wait for the whole body.

        Raises:
            SlimvecError: why it will not come.
        """
        if self.more_body and not self.disconnected and self.fault is None:
            self._arrival = self._connection.loop.create_future()
            yield from self._arrival
        if self.fault is not None:
            raise self.fault.anew()
        if self.disconnected:
            return {"type": "http.disconnect"}
        body, self._body = self._body, b""
        return {"type": "http.request", "body": body, "more_body": False}

    # The work

    def advance(self) -> None:
        """Work on until the answer is there, or something is to be waited for."""
        self.has_begun = True
        self._waits_for = None
        connection = self._connection
        try:
            waits_for = self.work.send(None)
        except StopIteration as made:
            connection.tasks.discard(cast("asyncio.Task[None]", self))
            self._write(made.value)
        except Exception:
            # The context answers every error, so this is one of its own.
            connection.logger.exception("Exception in the short cycle")
            connection.tasks.discard(cast("asyncio.Task[None]", self))
            connection.transport.close()
        else:
            waits_for._asyncio_future_blocking = False  # as a task does to say that it waits
            # Where the server looks for what is under way, and may cancel it.
            connection.tasks.add(cast("asyncio.Task[None]", self))
            self._waits_for = waits_for
            if waits_for is not self._arrival:  # else `set` goes on, without a turn of the loop
                waits_for.add_done_callback(self._go_on)

    def cancel(self, msg: object = None) -> None:
        """End what is waited for; the server does when the drain's time is over."""
        waits_for = self._waits_for
        if waits_for is not None and waits_for.cancel(msg) and waits_for is self._arrival:
            self._connection.loop.call_soon(self.advance)

    def _go_on(self, _: asyncio.Future[Any]) -> None:
        self.advance()

    # The answer

    def _write(self, answer: Stamped | None) -> None:
        """Write an answer in one piece, as uvicorn writes it in two."""
        connection = self._connection
        self.response_complete = True
        if answer is None or self.disconnected or connection.transport.is_closing():
            return
        if connection.is_body_left:
            self.keep_alive = False
        end = b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n"
        head = (STATUS_LINE[answer.status], connection.default_lines(), answer.lines(), end)
        connection.transport.writelines((b"".join(head), answer.body))
        if not self.keep_alive:
            # Closing at once, the peer might never see the answer.
            connection.is_last = True
        connection.on_response_complete()
