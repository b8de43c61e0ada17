"""Admission: a bounded number of reduces in flight; the ticket is an argument of the work."""

from __future__ import annotations

from types import TracebackType

from app.errors import QueueFull


class Admission:
    """Hands out tickets while there is room.

    Used from the event loop's thread only, so a plain counter is enough.
    """

    def __init__(self, max_in_flight: int) -> None:
        self._max = max_in_flight
        self.in_flight = 0

    def admit(self) -> Ticket:
        """A ticket for one request, given back by leaving its `with` block.

        Raises:
            QueueFull: as many requests as allowed are in flight.
        """
        if self.in_flight >= self._max:
            raise QueueFull(
                "overloaded", f"{self._max} requests are in flight already; try again shortly"
            )
        self.in_flight += 1
        return Ticket(self)


class Ticket:
    """Proof of admission: nobody reaches the device without one."""

    __slots__ = ("_admission",)

    def __init__(self, admission: Admission) -> None:
        self._admission = admission

    def __enter__(self) -> Ticket:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._admission.in_flight -= 1
