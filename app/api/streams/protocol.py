"""uvicorn's WebSocket protocol, with its memory bounded and an end that loses no answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

if TYPE_CHECKING:
    from uvicorn._types import ASGIReceiveEvent, ASGISendEvent
    from websockets.frames import Frame


class BoundedWebSocket(WebSocketsSansIOProtocol):
    """Reads only what it can answer.

    uvicorn holds a sender back after each message until the app asks for the next one. What it
    does not bound: pongs for a peer that reads nothing, and the pieces of a message in many frames.
    """

    def pause_writing(self) -> None:
        """Stop to read as well: every ping that is read is answered."""
        super().pause_writing()
        self._pause_reading()

    def resume_writing(self) -> None:
        """Read again, unless a message waits for the app."""
        super().resume_writing()
        if self.read_paused and self.queue.empty():
            self.read_paused = False
            self.transport.resume_reading()

    async def send(self, message: ASGISendEvent) -> None:
        """Send; a refusal by HTTP completes the handshake, too (uvicorn would log a fault)."""
        await super().send(message)
        if message["type"] == "websocket.http.response.body":
            self.handshake_complete = True

    async def receive(self) -> ASGIReceiveEvent:
        """The next message; the transport reads on only if it can write."""
        message = await super().receive()
        if not self.writable.is_set():
            self._pause_reading()
        return message

    def handle_cont(self, event: Frame) -> None:
        """Add a piece to its message: kept apart, small pieces would take many times their size."""
        (whole,) = self.frames
        if not isinstance(whole, bytearray):
            whole = bytearray(whole)  # type: ignore[assignment] # as good as bytes to its readers
            self.frames = [whole]
        whole += event.data
        if event.fin:
            self.send_receive_event_to_app()

    def shutdown(self) -> None:
        """Leave the end of an open stream to the stream, which has acknowledgements to send."""
        if self.close_sent or not self.handshake_complete:
            super().shutdown()

    def _pause_reading(self) -> None:
        if not self.read_paused:
            self.read_paused = True
            self.transport.pause_reading()
