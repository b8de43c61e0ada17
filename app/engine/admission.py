"""Admission: bounded requests and bytes in flight; the ticket is an argument of the work."""

from __future__ import annotations

from types import TracebackType

from app.errors import QueueFull


class Admission:
    """Hands out tickets while there is room.

    Used from the event loop's thread only, so plain counters are enough.

    Args:
        max_requests: most tickets out at once.
        max_bytes: most bytes of request bodies that they hold together.
    """

    def __init__(self, max_requests: int, max_bytes: int) -> None:
        self._max_requests = max_requests
        self._max_bytes = max_bytes
        self.in_flight = 0
        self.num_bytes = 0

    def admit(self, num_bytes: int = 0) -> Ticket:
        """A ticket for one request, given back by leaving its `with` block.

        Args:
            num_bytes: what its body is declared to have.

        Raises:
            QueueFull: `overloaded`.
        """
        if self.in_flight >= self._max_requests:
            raise QueueFull(
                "overloaded",
                f"{self._max_requests} requests are in flight already; try again shortly",
            )
        self.take(num_bytes)
        self.in_flight += 1
        return Ticket(self, num_bytes)

    def take(self, num_bytes: int) -> None:
        """Make room for more bytes.

        Raises:
            QueueFull: `overloaded`.
        """
        if self.num_bytes + num_bytes > self._max_bytes:
            raise QueueFull(
                "overloaded",
                f"{self.num_bytes} of at most {self._max_bytes} bytes are in flight already; "
                "try again shortly",
            )
        self.num_bytes += num_bytes

    def give_back(self, num_bytes: int) -> None:
        """One request is answered."""
        self.in_flight -= 1
        self.num_bytes -= num_bytes


class Ticket:
    """Proof of admission: nobody reaches the device without one."""

    __slots__ = ("_admission", "_num_bytes")

    def __init__(self, admission: Admission, num_bytes: int) -> None:
        self._admission = admission
        self._num_bytes = num_bytes

    def cover(self, num_bytes: int) -> None:
        """Hold room for a body that has grown to so many bytes.

        Raises:
            QueueFull: `overloaded`.
        """
        if num_bytes > self._num_bytes:
            self._admission.take(num_bytes - self._num_bytes)
            self._num_bytes = num_bytes

    def __enter__(self) -> Ticket:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._admission.give_back(self._num_bytes)
