"""How long a connection may take for what it is doing; plain times, no timers."""

from __future__ import annotations

from enum import Enum, auto

from app.api.protocol.limits import Limits

_LINGER_S = 5.0


class Phase(Enum):
    """What a connection waits for."""

    IDLE = auto()  # for the first byte of a request
    HEAD = auto()  # for the rest of a head
    BODY = auto()  # for the rest of a body
    ANSWER = auto()  # for us
    LINGER = auto()  # for the peer to read the last answer and close


class Pace:
    """The clock of one connection.

    A body has one deadline for the whole and one for a pause within it. A stream has no end that
    could be late: both hold for each of its records, and between two of them it is as an idle
    connection.

    Args:
        limits: of the server.
        now: in the loop's seconds, as every time here.

    Attributes:
        phase: what is waited for.
        heard: when the last bytes came.
        since: when the phase, or the record of a stream, began.
        has_asked: whether a whole head has come over this connection.
        is_between: whether a stream is between two records.
        is_held: whether it is the server that does not read on.
    """

    __slots__ = (
        "_limits",
        "_looked",
        "has_asked",
        "heard",
        "is_between",
        "is_held",
        "phase",
        "since",
    )

    def __init__(self, limits: Limits, now: float) -> None:
        self.phase = Phase.IDLE
        self.heard = self.since = self._looked = now
        self.has_asked = self.is_between = self.is_held = False
        self._limits = limits

    def enter(self, phase: Phase, now: float) -> None:
        """Wait for something else from now on."""
        self.phase = phase
        self.since = now
        self.is_between = self.is_held = False

    def begin_hold(self, now: float) -> None:
        """The server works on what came, and does not read on for now."""
        self.is_held = True
        self._looked = now

    def note_records(self, *, has_ended: bool, has_begun: bool, now: float) -> None:
        """A stream reads on: behind a record, within one, or both."""
        self.hold(now)
        if has_ended or (has_begun and self.is_between):
            self.since = now
        self.is_between, self.is_held = not has_begun, False

    def hold(self, now: float) -> None:
        """The server holds the peer back: the time since the last look is not the peer's."""
        self.since += now - self._looked
        self.heard = self._looked = now

    def is_over(self, now: float) -> bool:
        """Whether the peer took too long."""
        if self.is_held:
            self.hold(now)
        self._looked = now
        waited, limits = now - self.since, self._limits
        match self.phase:
            case Phase.IDLE if self.has_asked:
                return waited >= limits.keep_alive_s
            case Phase.IDLE | Phase.HEAD:
                return waited >= limits.header_timeout_s
            case Phase.BODY if self.is_between:
                return now - self.heard >= limits.keep_alive_s
            case Phase.BODY:
                is_silent = now - self.heard >= limits.body_idle_timeout_s
                return is_silent or waited >= limits.body_timeout_s
            case Phase.ANSWER:
                return False
            case Phase.LINGER:
                return waited >= _LINGER_S


class Unread:
    """Whether a peer reads what was written for it, however slowly.

    Args:
        patience_s: how long it may take nothing.
    """

    __slots__ = ("_least", "_patience_s", "_since")

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._least = 0
        self._since = 0.0

    def is_stuck(self, num_bytes: int, now: float) -> bool:
        """Whether as many bytes have been waiting to be read for too long.

        Args:
            num_bytes: that wait now.
            now: in seconds.
        """
        if num_bytes < self._least or not self._least:
            self._least, self._since = num_bytes, now
        return bool(num_bytes) and now - self._since >= self._patience_s
