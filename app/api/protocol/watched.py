"""A connection that ends when its peer takes too long, or too much of the server's memory.

Note [Lingering close]
Closing a socket while bytes arrive makes the kernel reset it, and the peer loses what it has not
read yet: the answer. So the connection's own half is closed first, and what still comes is thrown
away until the peer closes, too, or has had its time.
"""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.api.protocol.limits import Limits
from app.api.protocol.pace import Pace, Phase, Unread
from app.errors import TooSlow

if TYPE_CHECKING:
    from uvicorn.config import Config
    from uvicorn.server import ServerState

    from app.service import Admission

_LOOKED_AT = 64


class WatchedHttp(HttpToolsProtocol):
    """uvicorn's protocol, watched by one timer.

    Args:
        limits: that hold for every connection.
        admission: told of the answers that wait to be read.
        config, server_state, app_state, _loop: uvicorn's.

    Attributes:
        pace: what is waited for, and since when.
        is_deaf: whether nothing more is parsed.
    """

    transport: asyncio.Transport

    def __init__(
        self,
        limits: Limits,
        admission: Admission,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.limits = limits
        self.pace = Pace(limits, self.loop.time())
        self.is_deaf = False
        self._admission = admission
        self._unread = Unread(limits.keep_alive_s)
        self._num_kept = 0  # bytes of answers that wait to be read
        self._num_discarded = 0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as there
        """Start the clock; over the limit of connections, one has to go."""
        super().connection_made(transport)
        self._timer = self.loop.call_later(self.limits.period_s, self._look)
        if len(self.connections) > self.limits.max_connections:
            self._longest_waiting().transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock, and part from what would keep this alive until a garbage collection."""
        self._let_go()
        super().connection_lost(exc)
        self.scope = self.cycle = None  # type: ignore[assignment] # as uvicorn does with the parser
        self.pipeline.clear()

    def handle_websocket_upgrade(self) -> None:
        """Give the connection to the WebSocket protocol."""
        self._let_go()
        super().handle_websocket_upgrade()

    def pause_writing(self) -> None:
        """Count what the peer does not read: no ticket stands for it any more."""
        super().pause_writing()
        self._keep(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """It was read."""
        super().resume_writing()
        self._keep(0)

    def refuse(self, fault: Exception) -> None:
        """Answer with a refusal, in its turn, and read no more."""
        raise NotImplementedError

    def finish(self) -> None:
        """Close the connection behind what was written; see Note [Lingering close]."""
        if self.pace.phase is Phase.ANSWER and not self.is_deaf:
            self.transport.close()
            return
        self.is_deaf = True
        self.pace.enter(Phase.LINGER, self.loop.time())
        self.flow.resume_reading()
        self.transport.write_eof()

    def discard(self, num_bytes: int) -> None:
        """Throw away what came behind the last request that is answered."""
        self._num_discarded += num_bytes
        if self._num_discarded > self.limits.max_discarded_bytes:
            self.transport.close()

    @property
    def is_waiting(self) -> bool:
        """Whether nobody would miss an answer if the connection were closed."""
        return self.pace.phase in (Phase.IDLE, Phase.HEAD) and not self.transport.is_closing()

    def _look(self) -> None:
        """Close, or refuse, what takes too long."""
        self._timer = self.loop.call_later(self.limits.period_s, self._look)
        now, num_unread = self.loop.time(), self.transport.get_write_buffer_size()
        if self._unread.is_stuck(num_unread, now):
            self.transport.abort()
        elif self.flow.read_paused or (num_unread and self.pace.phase is not Phase.BODY):
            self.pace.hold(now)
        elif self.pace.is_over(now):
            self._end_wait()

    def _end_wait(self) -> None:
        if self.pace.phase is not Phase.BODY:
            self.transport.close()
        elif not self.is_deaf:
            self.refuse(
                TooSlow("body_too_slow", "expected the body without long pauses; send it again")
            )

    def _keep(self, num_bytes: int) -> None:
        self._admission.keep(num_bytes - self._num_kept)
        self._num_kept = num_bytes

    def _let_go(self) -> None:
        self._keep(0)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _longest_waiting(self) -> WatchedHttp:
        """Who gives way to another connection: of some, the one that has waited longest, or this.

        Whoever has asked before is spared while there are others.
        """
        some = islice(self.connections, _LOOKED_AT)
        waiting = [other for other in some if isinstance(other, WatchedHttp) and other.is_waiting]
        return min(
            waiting, default=self, key=lambda other: (other.pace.has_asked, other.pace.since)
        )
