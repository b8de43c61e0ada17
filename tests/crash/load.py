"""Servers that end and come back under load, and the account of what their clients were told."""

from __future__ import annotations

from itertools import count
from typing import Any

from tests.crash import reference
from tests.crash.lanes import Door, Echo, Lane, Ledger, Reader
from tests.crash.processes import Served
from tests.crash.reference import MODEL
from tests.crash.wire import Wire

_LANES = 3
_SETTLE_S = 60.0

# Checkpoints, rotations and removals happen all the time, not once in a thousand steps.
EAGER = (
    *("--default-model", MODEL, "--device", "cpu"),
    *("--checkpoint-every-steps", "5", "--retain-checkpoints", "2"),
)


class Load:
    """Training connections, one that doubles their steps, and a reader; they outlive servers.

    Attributes:
        ledger: what they were told.
    """

    def __init__(self) -> None:
        self.ledger = Ledger()
        self._door = Door()
        numbers = count(1)
        lanes = [Lane(self._door, self.ledger, numbers) for _ in range(_LANES)]
        self._callers = [
            *lanes,
            Echo(self._door, self.ledger, lanes[0]),
            Reader(self._door, self.ledger),
        ]
        for caller in self._callers:
            caller.start()

    def meet(self, served: Served) -> None:
        """Let the load onto a server that is ready."""
        self._door.open(served.ready())

    def settle(self, served: Served) -> Any:
        """Finish on the last server; the state that it then says."""
        self._door.open(served.ready(), is_last=True)
        for caller in self._callers:
            caller.join(_SETTLE_S)
            assert not caller.is_alive(), f"not settled in {_SETTLE_S} s\n{served.text}"
        return state_of(served)


def state_of(served: Served) -> Any:
    """What a server says of its state."""
    with Wire(served.ready()) as wire:
        return wire.state()


def faults(ledger: Ledger, state: Any) -> list[str]:
    """Everything that is not as in an uninterrupted run; empty when all is well.

    Args:
        ledger: of clients that have settled every step.
        state: of the last server.
    """
    num_steps = len(ledger.replies)
    versions = [version for version, _ in ledger.order]
    numbers = [number for _, number in ledger.order]
    found = list(ledger.faults)
    if sorted(numbers) != list(range(1, num_steps + 1)):
        found.append("a step was never acknowledged")
    if versions != list(range(2, num_steps + 2)):
        found.append("the acknowledged versions have gaps or doubles")
    expected = reference.train(numbers)
    told = {reply.json["version"]: reply.json["digest"] for reply in ledger.replies.values()}
    told |= {version: digest for version, (digest, _) in ledger.seen.items()}
    wrong = [version for version, digest in told.items() if expected.digests.get(version) != digest]
    if wrong:
        found.append(f"versions that no uninterrupted run makes: {sorted(wrong)[:10]}")
    last = num_steps + 1
    if (state["version"], state["state_digest"]) != (last, expected.state_digests[last]):
        found.append(f"expected version {last}, {expected.state_digests[last]}; got {state}")
    return found
