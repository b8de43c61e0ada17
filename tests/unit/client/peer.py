"""A server's half of a training stream in memory, for flows that are driven without I/O."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from app.client.acknowledgements import Item
from app.client.actions import (
    Answer,
    Done,
    Emit,
    Flow,
    Open,
    Pause,
    ReadLine,
    TakeBatch,
    WireAction,
    advance,
)
from app.client.arrays import BatchLike
from app.client.trouble import Interrupted
from app.codecs import unpack
from app.types import Json

REFUSED = -1.0  # a record that begins with this number is refused


def broken() -> Interrupted:
    return Interrupted("the line was cut")


def problem(status: int, code: str) -> Json:
    return {"status": status, "code": code, "detail": f"it is {code}", "instance": "id"}


@dataclass
class Peer:
    """Applies records once a key, acknowledges each, and breaks off where it is told to.

    Args:
        cuts: for each request, after how many records the connection breaks: before their
            lines are read. None for a request that goes well.
    """

    cuts: list[int | None] = field(default_factory=list)
    on_error: str = "stop"
    applied: list[str] = field(default_factory=list)
    sent: list[list[str]] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)

    def drive(self, flow: Flow[None], batches: Iterable[BatchLike]) -> Iterator[Item]:
        source = iter(batches)
        step = advance(flow)
        while not isinstance(step, Done):
            if isinstance(step, Emit):
                yield step.item
                step = advance(flow)
            elif isinstance(step, TakeBatch):
                step = advance(flow, next(source, None))
            else:
                step = advance(flow, self._perform(step))

    def _perform(self, action: WireAction) -> object:
        match action:
            case Open(request):
                self._lines = self._answer(b"".join(request.body))
                return Answer(200, {})
            case ReadLine():
                line = next(self._lines, None)
                return broken() if line == "cut" else line
            case Pause(seconds):
                self.pauses.append(seconds)
        return None

    def _answer(self, body: bytes) -> Iterator[str]:
        cut = self.cuts.pop(0) if self.cuts else None
        self.sent.append([key for key, _ in frames(body)])
        for number, (key, first) in enumerate(frames(body), 1):
            if number - 1 == cut:
                yield "cut"
            if first == REFUSED:
                yield json.dumps({"record": number, "error": problem(422, "step_rejected")})
                if self.on_error == "stop":
                    return
            elif key not in self.applied:
                self.applied.append(key)
            yield json.dumps({"ack": number, "version": len(self.applied) + 1, "loss": first})
        if cut is not None:
            yield "cut"


def frames(body: bytes) -> Iterator[tuple[str, float]]:
    """Key and first number of every frame."""
    while body:
        (length,) = struct.unpack_from("<I", body)
        arrays, metadata = unpack(body[4 : 4 + length])
        yield metadata["key"], float(arrays["hidden_states"].flat[0])
        body = body[4 + length :]


def refused_batch() -> BatchLike:
    return np.full((2, 3), REFUSED, np.float32)


def batches(count: int) -> list[BatchLike]:
    """Batches whose first number is theirs, from 1."""
    return [np.full((2, 3), number, np.float32) for number in range(1, count + 1)]
