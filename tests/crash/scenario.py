"""One life of a model, request by request: every kind of change, checkpoints, a drain."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import orjson
from safetensors.numpy import save

from tests.crash import reference
from tests.crash.load import state_of
from tests.crash.processes import Served
from tests.crash.reference import MODEL
from tests.crash.wire import Broken, Reply, Wire

_SAFETENSORS = "application/x-safetensors"
_RESENT = 3
_PATIENCE = 5


@dataclass(frozen=True, slots=True)
class Request:
    """One request, and what makes it safe to repeat.

    Attributes:
        headers: an Idempotency-Key, or If-Match where a repetition is refused; a request without
            either sets what it sets, however often it is sent.
    """

    method: str
    path: str
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def is_guarded(self) -> bool:
        """Whether a repetition is recognised."""
        return bool(self.headers.keys() & {"Idempotency_Key", "If_Match"})


def life() -> list[Request]:
    """Every kind of change; each checkpoint rotates the journal and removes an old one."""
    return [
        *_steps(1, 5),
        _checkpoint(),  # version 6
        *_steps(6, 8),
        _change("PATCH", "", {"lr": 0.02}),
        *_steps(9, 10),
        _change("PUT", "/serving", {"version": 6}),
        _checkpoint(),  # version 11
        *_steps(11, 12),
        _change("POST", "/rollback", {"version": 6}, at=13),  # makes 14
        *_steps(13, 15),
        _change("PUT", "/serving", {"version": "live"}),
        _checkpoint(),  # version 17
        _change("POST", "/fit", {"method": "pca", "hidden_states": _rows()}, at=17),  # makes 18
        *_steps(16, 17),
        _import(at=20),  # makes 21
        Request("PUT", "/models/twin", _weights(), {"Content_Type": _SAFETENSORS}),
        *_steps(18, 19),
        _checkpoint(),  # version 23
        *_steps(20, 21),
    ]


def _rows() -> list[list[float]]:
    rows: list[list[float]] = reference.batch(1000).tolist()
    return rows


def _steps(first: int, last: int) -> list[Request]:
    path = f"/models/{MODEL}/train-step"
    return [
        Request("POST", path, reference.body(number), {"Idempotency_Key": f"step-{number}"})
        for number in range(first, last + 1)
    ]


def _checkpoint() -> Request:
    return Request("POST", f"/models/{MODEL}/versions")


def _change(method: str, path: str, document: object, *, at: int = 0) -> Request:
    headers = {"If_Match": f'"{at}"'} if at else {}
    return Request(method, f"/models/{MODEL}{path}", orjson.dumps(document), headers)


def _import(*, at: int) -> Request:
    headers = {"If_Match": f'"{at}"', "Content_Type": _SAFETENSORS}
    return Request("PUT", f"/models/{MODEL}", _weights(), headers)


def _weights() -> bytes:
    content: bytes = save({"Q_reduced": reference.orthonormal(7)})
    return content


@dataclass
class Walk:
    """A client on its way through a scenario, over any number of servers.

    Attributes:
        requests: all of them, in order.
        expected: the answers of an uninterrupted run; empty while that run is made.
        answers: settled so far, one a request; None where only the settling is known.
        faults: sentences; empty when all is well.
        refusals: the codes of passing refusals.
    """

    requests: Sequence[Request]
    expected: Sequence[bytes | None] = ()
    answers: list[bytes | None] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)

    @property
    def is_done(self) -> bool:
        """Whether every request is settled."""
        return len(self.answers) == len(self.requests)

    def go(self, served: Served) -> bool:
        """Walk on this server; whether the end was reached (otherwise it needs another)."""
        if not served.wait_ready() or served.address is None:
            return False
        with suppress(*Broken), Wire(served.address) as wire:
            self._repeat(wire)
            while not self.is_done and self._settle(wire):
                pass
        return self.is_done

    def _repeat(self, wire: Wire) -> None:
        """Send the last settled requests again, as a client does that lost its notes."""
        for number in range(max(0, len(self.answers) - _RESENT), len(self.answers)):
            if self.requests[number].is_guarded:
                reply = self._send(wire, number)
                is_refused = reply.status == 412
                if not (is_refused or (reply.is_replayed and self._is_expected(number, reply))):
                    self.faults.append(f"request {number}, again: {reply}")

    def _settle(self, wire: Wire) -> bool:
        """Settle the next request; False when this server cannot."""
        number = len(self.answers)
        for _ in range(_PATIENCE):
            reply = self._send(wire, number)
            if reply.status in (200, 201):
                if not self._is_expected(number, reply):
                    self.faults.append(f"request {number}: unexpected {reply}")
                self.answers.append(reply.body)
                return True
            if self.expected and (reply.status == 412 or reply.code == "model_exists"):
                self.answers.append(None)  # it was applied, and its answer was lost
                return True
            self.refusals.append(reply.code)
            if reply.status not in (409, 507):
                break
        if reply.status not in (503, 507):
            self.faults.append(f"request {number}: {reply}")
        return False

    def _send(self, wire: Wire, number: int) -> Reply:
        request = self.requests[number]
        return wire.send(request.method, request.path, request.body, **request.headers)

    def _is_expected(self, number: int, reply: Reply) -> bool:
        return not self.expected or reply.body == self.expected[number]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an uninterrupted run answers, and the state that it reaches."""

    answers: tuple[bytes | None, ...]
    state: dict[str, Any]


def outcome(served: Served) -> dict[str, Any]:
    """What must be the same at the end, however often the server died."""
    state = state_of(served)
    kept = ("version", "step", "state_digest", "serving", "learning_rate", "is_divergent")
    return {name: state[name] for name in kept}
