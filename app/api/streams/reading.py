"""The records in the body of a request, one after another as they come."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

from app.api.asgi import Receive, Scope, receive_message
from app.api.streams.framing import Frames, Framing, Lines
from app.settings import Settings

NDJSON = "application/x-ndjson"
FRAMES = "application/x-slimvec-frames"
READS = frozenset({NDJSON, FRAMES})


def framing_of(media_type: str, limits: Settings) -> Framing:
    """How a body of that media type is cut into records."""
    if media_type == FRAMES:
        return Frames(limits.max_binary_body_bytes)
    return Lines(limits.max_json_body_bytes)


async def read_records(
    scope: Scope, receive: Receive, framing: Framing, hold: Callable[[int], Awaitable[None]]
) -> AsyncIterator[bytes]:
    """Whole records, while the body is still being sent.

    Args:
        scope: of the request.
        receive: gives its body.
        framing: cuts it.
        hold: makes room for the bytes that wait for the rest of their record.

    Raises:
        ClientGone: the client hung up.
        TooLarge, Malformed: as the framing refuses.
    """
    connection = scope.get("connection")  # of our own protocol; another server has none
    more = True
    while more:
        message = await receive_message(receive)
        if connection is not None:
            connection.hold()
        has_ended = False
        for body in framing.feed(message.get("body", b"")):
            has_ended = True
            yield body
        await hold(framing.num_bytes)
        if connection is not None:
            connection.note_records(has_ended=has_ended, has_begun=framing.num_bytes > 0)
        more = message.get("more_body", False)
    for body in framing.end():
        yield body
