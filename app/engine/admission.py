"""Admission: bounded requests and bytes in flight; the ticket is an argument of the work."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from types import TracebackType

from app.engine.drain_rate import DrainRate
from app.errors import QueueFull


class Admission:
    """Hands out tickets while there is room.

    A request is admitted for what its body will take in memory. However small the room is, one
    request alone is always admitted: it would never be otherwise.

    Used from the event loop's thread only, so plain counters are enough.

    Args:
        max_requests: most tickets out at once.
        max_bytes: most bytes of memory that they stand for together.
        clock: in seconds.

    Attributes:
        in_flight: tickets that are out.
        num_bytes: what they stand for.
    """

    def __init__(
        self, max_requests: int, max_bytes: int, clock: Callable[[], float] = monotonic
    ) -> None:
        self._max_requests = max_requests
        self._max_bytes = max_bytes
        self._requests = DrainRate(clock)
        self._bytes = DrainRate(clock)
        self.in_flight = 0
        self.num_bytes = 0

    def admit(self, num_bytes: int = 0, *, weight: int = 1) -> Ticket:
        """A ticket for one request, given back by leaving its `with` block.

        Args:
            num_bytes: what its body is declared to have.
            weight: bytes of memory for one of these.

        Raises:
            QueueFull: `overloaded`.
        """
        if self.in_flight >= self._max_requests:
            raise QueueFull(
                "overloaded",
                f"{self._max_requests} requests are in flight already; try again later",
                retry_after_s=self._requests.wait_s(1),
            )
        ticket = Ticket(self, weight)
        if num_bytes:
            ticket.hold(num_bytes)
        if not self.in_flight:
            self._requests.begin()
            self._bytes.begin()
        self.in_flight += 1
        return ticket

    def take(self, num_bytes: int, *, held: int) -> None:
        """Make room for more bytes; `held` of those in flight are the same request's.

        Raises:
            QueueFull: `overloaded`.
        """
        others = self.num_bytes - held
        missing = self.num_bytes + num_bytes - self._max_bytes
        if missing > 0 and others:
            raise QueueFull(
                "overloaded",
                f"requests for {others} of at most {self._max_bytes} bytes of memory are in flight "
                "already; try again later",
                retry_after_s=self._bytes.wait_s(missing),
            )
        self.num_bytes += num_bytes

    def keep(self, num_bytes: int) -> None:
        """Count memory that no ticket stands for, or no more: answers that wait to be read."""
        self.num_bytes += num_bytes

    def give_back(self, num_bytes: int) -> None:
        """Memory is free again."""
        self.num_bytes -= num_bytes
        self._bytes.finished += num_bytes

    def end(self, num_bytes: int) -> None:
        """A request is answered."""
        self.in_flight -= 1
        self._requests.finished += 1
        self.give_back(num_bytes)


class Ticket:
    """Proof of admission: nobody reaches the device without one."""

    __slots__ = ("_admission", "_held", "_weight")

    def __init__(self, admission: Admission, weight: int) -> None:
        self._admission = admission
        self._weight = weight
        self._held = 0

    def cover(self, num_bytes: int) -> None:
        """Stand for a body that has grown to so many bytes.

        Raises:
            QueueFull: `overloaded`.
        """
        if num_bytes * self._weight > self._held:
            self.hold(num_bytes)

    def hold(self, num_bytes: int) -> None:
        """Stand for so many bytes of a body, more or fewer than before.

        Raises:
            QueueFull: `overloaded`; it stands for what it stood for.
        """
        held = num_bytes * self._weight
        if held > self._held:
            self._admission.take(held - self._held, held=self._held)
        else:
            self._admission.give_back(self._held - held)
        self._held = held

    def __enter__(self) -> Ticket:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._admission.end(self._held)
