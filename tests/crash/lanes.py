"""A client that retries everything: several connections, every answer remembered."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from itertools import count
from threading import Condition, Event, Lock, Thread

from tests.crash.reference import body
from tests.crash.wire import Broken, Reply, Wire

_RESENT = 3
# So long a doubled step is not doubled again while its lane still waits.
_PATIENCE_S = 0.1
# Refusals after which the same request is sent again: nothing was accepted, or nobody can say.
_AGAIN = {409, 429, 503}


class Door:
    """Where the server is at the moment; lanes wait here for the next one.

    Attributes:
        is_last: whether the present server is the last: everyone settles what is under way, and
            goes home.
    """

    def __init__(self) -> None:
        self._changed = Condition()
        self._address = ("", 0)
        self._number = 0
        self.is_last = False

    def open(self, address: tuple[str, int], *, is_last: bool = False) -> None:
        """Let everyone in at this address."""
        with self._changed:
            self._address, self._number = address, self._number + 1
            self.is_last = is_last
            self._changed.notify_all()

    def enter(self, after: int) -> tuple[tuple[str, int], int]:
        """The address of a server newer than number `after`, and its number."""
        with self._changed:
            self._changed.wait_for(lambda: self._number > after)
            return self._address, self._number


@dataclass
class Ledger:
    """What clients were told; every contradiction is a fault.

    Attributes:
        replies: to every acknowledged step, by number.
        seen: what readers saw, by version: digest and reduced rows.
        faults: sentences; empty when all is well.
    """

    replies: dict[int, Reply] = field(default_factory=dict)
    seen: dict[int, tuple[str, str]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    num_resent: int = 0
    _writing: Lock = field(default_factory=Lock)

    def acknowledge(self, number: int, reply: Reply) -> None:
        """Note a 200, and compare it with what was said before."""
        with self._writing:
            known = self.replies.setdefault(number, reply)
        if known.body != reply.body:
            self.faults.append(f"step {number} was {known.body!r}, then {reply.body!r}")

    def resend(self, number: int, reply: Reply) -> None:
        """Note the answer to a step that was acknowledged before."""
        if reply.status in _AGAIN:
            return  # the server is ending already
        self.num_resent += 1
        if reply.is_replayed:
            self.acknowledge(number, reply)
        else:
            self.faults.append(f"step {number}, again: {reply.status}, {reply.body!r}")

    def see(self, reply: Reply) -> None:
        """Note what a reader saw."""
        version, digest = int(reply.headers["model-version"]), reply.headers["model-digest"]
        found = digest, str(reply.json["reduced"])
        with self._writing:
            known = self.seen.setdefault(version, found)
        if known != found:
            self.faults.append(f"version {version} was {known}, then {found}")

    @property
    def newest_version(self) -> int:
        """The newest version that anyone was told of."""
        with self._writing:
            versions = [reply.json["version"] for reply in self.replies.values()]
        return max(versions, default=1)

    @property
    def order(self) -> list[tuple[int, int]]:
        """The version that each acknowledged step made, and its number."""
        return sorted((reply.json["version"], number) for number, reply in self.replies.items())


class Caller(Thread):
    """Speaks to one server after the other, until the last one's end."""

    def __init__(self, door: Door, ledger: Ledger) -> None:
        super().__init__(daemon=True)
        self._door = door
        self._ledger = ledger

    def run(self) -> None:
        is_settled, server = False, 0
        while not is_settled:
            address, server = self._door.enter(server)
            try:
                with Wire(address) as wire:
                    is_settled = self._speak(wire)
            except Broken:
                pass
            except BaseException as error:
                self._ledger.faults.append(f"a caller ended: {error!r}")
                raise

    def _speak(self, wire: Wire) -> bool:
        """Speak until the connection breaks; True when this was the last server."""
        raise NotImplementedError


class Lane(Caller):
    """Sends step after step, and after a break its last answered ones anew.

    Args:
        door: where the server is.
        ledger: takes every answer.
        numbers: of the steps that the lanes send.

    Attributes:
        current: the number of the step that is under way.
        moved: set when that is another one.
    """

    def __init__(self, door: Door, ledger: Ledger, numbers: count[int]) -> None:
        super().__init__(door, ledger)
        self._numbers = numbers
        self._answered: deque[int] = deque(maxlen=_RESENT)
        self.current = next(numbers)
        self.moved = Event()

    def _speak(self, wire: Wire) -> bool:
        for number in tuple(self._answered):
            self._ledger.resend(number, wire.train(body(number), f"step-{number}"))
        while not (is_settled := self._send(wire)) or not self._door.is_last:
            if is_settled:
                self.current = next(self._numbers)
                self.moved.set()
        return True

    def _send(self, wire: Wire) -> bool:
        reply = wire.train(body(self.current), f"step-{self.current}")
        if reply.status == 200:
            self._ledger.acknowledge(self.current, reply)
            self._answered.append(self.current)
        elif reply.status not in _AGAIN:
            self._ledger.faults.append(f"step {self.current}: {reply.status}, {reply.body!r}")
        return reply.status == 200


class Echo(Caller):
    """Sends what a lane is sending, under the same key and at the same time."""

    def __init__(self, door: Door, ledger: Ledger, lane: Lane) -> None:
        super().__init__(door, ledger)
        self._lane = lane

    def _speak(self, wire: Wire) -> bool:
        while not self._door.is_last:
            number = self._lane.current
            self._lane.moved.clear()
            reply = wire.train(body(number), f"step-{number}")
            if reply.status == 200:
                self._ledger.acknowledge(number, reply)
            elif reply.status not in _AGAIN:
                self._ledger.faults.append(f"step {number}, doubled: {reply}")
            self._lane.moved.wait(_PATIENCE_S)
        return True


class Reader(Caller):
    """Reduces the same rows for ever, and notes which version made what of them."""

    def _speak(self, wire: Wire) -> bool:
        rows = body(0)
        while not self._door.is_last:
            self._ledger.see(wire.reduce(rows))
        return True
