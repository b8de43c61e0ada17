"""One request and its answer: uvicorn's, with a fault that whoever reads the body is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

if TYPE_CHECKING:
    from uvicorn._types import ASGIReceiveEvent, ASGISendEvent

    from app.errors import SlimvecError


class Connection(Protocol):
    """What a cycle asks of its connection."""

    is_last: bool

    @property
    def is_body_left(self) -> bool:
        """Whether more of the body is to come than is worth reading for nothing."""


class Cycle(RequestResponseCycle):
    """A request and its answer.

    Attributes:
        fault: why the rest of the body will not come; raised where it is read.
        connection: told when this answer is its last one; it closes itself.
    """

    fault: SlimvecError | None = None
    connection: Connection

    async def receive(self) -> ASGIReceiveEvent:
        """The next part of the body.

        Raises:
            SlimvecError: the fault, as soon as there is one.
        """
        if self.fault is None:
            message = await super().receive()
        if self.fault is not None and not self.response_complete:
            raise self.fault.anew()
        return message

    async def send(self, message: ASGISendEvent) -> None:
        """Send; the answer says so when the connection ends behind it."""
        if self.transport.is_closing():
            self.disconnected = True  # uvicorn would learn it in the loop's next turn only
            return
        if message["type"] == "http.response.start":
            if self.connection.is_body_left:
                self.keep_alive = False
        elif not message.get("more_body", False) and not self.keep_alive:
            # uvicorn would close at once, and the peer might never see the answer.
            self.keep_alive = self.connection.is_last = True
        await super().send(message)
