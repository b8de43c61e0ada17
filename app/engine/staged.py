"""The staged multiplier: rows to a device with memory of its own, and back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch

from app.engine.snapshot import Snapshot
from app.engine.staging import Staging
from app.types import FloatArray

_PIECE_BYTES = 16 << 20


class StagedMultiplier:
    """Multiplies on a device, by way of pinned memory of the host that is kept.

    Each row is copied once into pinned memory, sent once, and its product comes back once, into
    pinned memory, and is copied out of it. Within a batch nothing is waited for: transfers, product
    and return are queued on the device, and its thread waits for one event at the end. A batch of
    more than a piece is sent in pieces by way of two places in turn, so that one is filled while
    the other is sent; only the third piece waits, for the first one to be gone.

    Everything is queued on the default stream, on which the trainer makes weights, too: a snapshot
    is whole before any product that reads it, without a lock or an event between them.

    Args:
        device: where the layers are.
        piece_bytes: of the rows that are sent at once.

    Attributes:
        outgoing: the two places that rows are sent from.
    """

    def __init__(self, device: torch.device, *, piece_bytes: int = _PIECE_BYTES) -> None:
        self._device = device
        self._piece_bytes = piece_bytes
        self._outgoing = tuple(_Place(device) for _ in range(2))
        self.outgoing = tuple(place.staging for place in self._outgoing)
        self._incoming = _Place(device)

    def multiply(self, snapshot: Snapshot, parts: Sequence[FloatArray]) -> FloatArray:
        """See `Multiplier.multiply`."""
        count = sum(map(len, parts))
        reduced = self._incoming.staging.room(count, snapshot.n_components)
        end = 0
        for index, piece in enumerate(self._pieces(snapshot, parts)):
            place = self._outgoing[index % 2]
            if index >= len(self._outgoing):
                place.wait()
            num_rows = sum(map(len, piece))
            begin, end = end, end + num_rows
            rows = place.staging.gather(piece, snapshot.tiling.height(num_rows))
            sent = rows.to(self._device, non_blocking=True)
            place.mark()
            product = snapshot.product(sent.to(snapshot.dtype))[:num_rows]
            reduced[begin:end].copy_(product, non_blocking=True)
        self._incoming.mark()
        self._incoming.wait()
        array: FloatArray = reduced.numpy().copy()
        return array

    def _pieces(
        self, snapshot: Snapshot, parts: Sequence[FloatArray]
    ) -> Iterator[Sequence[FloatArray]]:
        """Several requests as they are; one alone in as many pieces as it needs."""
        if len(parts) > 1:
            yield parts
            return
        most_rows = max(1, self._piece_bytes // parts[0][:1].nbytes)
        step = min(most_rows, snapshot.tiling.most)
        for begin in range(0, len(parts[0]), step):
            yield (parts[0][begin : begin + step],)


class _Place:
    """Staging, and the moment after which no transfer needs it any more."""

    def __init__(self, device: torch.device) -> None:
        is_cuda = device.type == "cuda"
        self.staging = Staging(pinned=is_cuda)
        self._stream = torch.cuda.default_stream(device) if is_cuda else None
        kind: Callable[[], Any] = (
            partial(torch.cuda.Event, blocking=True) if is_cuda else torch.cpu.Event
        )
        self._event = kind()

    def mark(self) -> None:
        """Everything that is queued now comes before the moment."""
        self._event.record(self._stream)

    def wait(self) -> None:
        """Sleep until the moment has come."""
        self._event.synchronize()
