"""uvicorn's WebSocket protocol, with its memory bounded and an end that loses no answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from app.errors import QueueFull

if TYPE_CHECKING:
    from uvicorn._types import ASGIReceiveEvent, ASGISendEvent
    from websockets.frames import Frame

    from app.service import Admission

_NO_TEXT, _TRY_AGAIN_LATER = 1007, 1013


class BoundedWebSocket(WebSocketsSansIOProtocol):
    """Reads only what it can answer.

    uvicorn holds a sender back after each message until the app asks for the next one. What it
    does not bound: pongs for a peer that reads nothing, and the pieces of a message in many frames.
    What has come of a message that is not whole counts as a body in flight.

    Args:
        admission: of the server.
        args, named: uvicorn's.
    """

    def __init__(self, admission: Admission, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._admission = admission
        self._num_waiting = 0

    def data_received(self, data: bytes) -> None:
        """Read; the first bytes are a whole head, and if that is no handshake, nothing will be."""
        super().data_received(data)
        if not self.handshake_initiated:
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.transport.close()
        waiting = len(self.conn.reader.buffer) + sum(map(len, self.frames))
        try:
            self._hold(waiting)
        except QueueFull:
            self._give_up(_TRY_AGAIN_LATER)

    def send_receive_event_to_app(self) -> None:
        """Hand over a whole message; uvicorn would log one that is no UTF-8 as a fault of ours."""
        if self.curr_msg_data_type == "text" and not _is_utf8(self.frames):
            self._give_up(_NO_TEXT)
        else:
            super().send_receive_event_to_app()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget what has come."""
        self._hold(0)
        super().connection_lost(exc)

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

    def _hold(self, num_bytes: int) -> None:
        """Count what has come of a message; of a whole one, whoever takes it does."""
        added = num_bytes - self._num_waiting
        if added > 0:
            self._admission.take(added, held=self._num_waiting)
        else:
            self._admission.keep(added)
        self._num_waiting = num_bytes

    def _give_up(self, code: int) -> None:
        """Close, whatever the peer is sending."""
        self.frames = []
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code})
        self.conn.send_close(code)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.transport.close()


def _is_utf8(frames: Sequence[bytes]) -> bool:
    try:
        b"".join(frames).decode()
    except UnicodeDecodeError:
        return False
    return True
