"""A soak: a server in a process of its own, visitors, and what the server holds meanwhile."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock, Thread
from time import monotonic, sleep
from urllib.parse import urlsplit

from tests.conftest import MODELS as CONFIGS
from tests.crash.wire import Broken, Wire
from tests.e2e.process import ServerProcess
from tests.soak import holdings
from tests.soak.judge import Sample
from tests.soak.turnstile import Turnstile
from tests.soak.visitor import Address, Unexpected, Visitor
from tests.soak.visits import VISITS, Visit

SOUND = "app"
LEAKY = "tests.soak.leaky"

_NUM_VISITORS = 6
_SAMPLES_A_RUN = 200
_MOST_FAULTS = 20

# Every table and file that a server keeps within a bound is to reach it within the warm-up.
_RETAINED = 4
_JOURNAL_BYTES = 4 << 20
_FLAGS = (
    *("--default-model", "small", "--device", "cpu", "--log-level", "error"),
    *("--checkpoint-every-steps", "200", "--checkpoint-every-s", "5"),
    *("--checkpoint-every-bytes", str(_JOURNAL_BYTES), "--retain-checkpoints", str(_RETAINED)),
    *("--idempotency-keys", "200", "--idempotency-window-s", "5"),
)
# A model: its journal up to the older of the two newest checkpoints and beyond the newest, each
# file with a log of about its size beside it; and its versions, of which the widest has 2 MiB.
MAX_DISK_BYTES = len(CONFIGS) * (4 * 2 * _JOURNAL_BYTES + (_RETAINED + 4) * (2 << 20))


@dataclass
class Account:
    """What the visitors did, by the name of the visit, and every answer that was none."""

    visits: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    _writing: Lock = field(default_factory=Lock)

    def enter(self, visit: Visit) -> None:
        with self._writing:
            self.visits[visit.name] += 1

    def complain(self, visit: Visit, error: Exception) -> None:
        with self._writing:
            self.faults.append(f"{visit.name}: {type(error).__name__}: {error}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A run that has ended."""

    samples: Sequence[Sample]
    visits: Counter[str]
    faults: Sequence[str]


def run(module: str, minutes: float) -> Outcome:
    """Let visitors onto a server for so long; `module` is `SOUND` or `LEAKY`."""
    account, turnstile, samples = Account(), Turnstile(), []
    with TemporaryDirectory() as folder, _served(Path(folder), module) as (server, address):
        visitors = [Visitor(address) for _ in range(_NUM_VISITORS)]
        threads = [
            Thread(target=_visit, args=(visitor, turnstile, account), daemon=True)
            for visitor in visitors
        ]
        for thread in threads:
            thread.start()
        started = monotonic()
        while monotonic() < started + 60 * minutes and len(account.faults) < _MOST_FAULTS:
            sleep(60 * minutes / _SAMPLES_A_RUN)
            with turnstile.held():
                _wait_until_idle(address)
                samples.append(
                    _sample(server.process.pid, Path(folder), monotonic() - started, visitors)
                )
        turnstile.close()
        for thread in threads:
            thread.join()
        if (code := server.stop()) != 0:
            account.faults.append(f"the server ended with exit code {code}")
    return Outcome(samples=samples, visits=account.visits, faults=account.faults)


@contextmanager
def _served(models_dir: Path, module: str) -> Iterator[tuple[ServerProcess, Address]]:
    with ServerProcess(models_dir, *_FLAGS, module=module) as server:
        parts = urlsplit(str(server.client.base_url))
        assert parts.hostname is not None
        assert parts.port is not None
        address = (parts.hostname, parts.port)
        for name, document in CONFIGS.items():
            server.client.put(f"/models/{name}", json=document).raise_for_status()
        server.client.close()
        yield server, address


def _visit(visitor: Visitor, turnstile: Turnstile, account: Account) -> None:
    weights = [visit.weight for visit in VISITS]
    while True:
        (visit,) = visitor.random.choices(VISITS, weights)
        with turnstile.visit() as is_on:
            if not is_on:
                visitor.wire.close()
                return
            try:
                visit.make(visitor)
            except (Unexpected, *Broken) as error:
                account.complain(visit, error)
                visitor.wire.close()
            account.enter(visit)


def _wait_until_idle(address: Address) -> None:
    """Wait for a whole turn: what was hung up before is then noticed."""
    with Wire(address) as wire:
        for _ in range(2):
            wire.send("GET", "/health/live")


def _sample(pid: int, folder: Path, elapsed_s: float, visitors: Sequence[Visitor]) -> Sample:
    return Sample(
        elapsed_s=elapsed_s,
        requests=sum(visitor.num_requests for visitor in visitors),
        memory_bytes=holdings.memory_bytes(pid),
        descriptors=holdings.descriptors(pid),
        threads=holdings.threads(pid),
        disk_bytes=holdings.disk_bytes(folder),
    )
