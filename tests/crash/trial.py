"""One trial: a server that something happens to, then recovery, then the account."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.crash.processes import ForkServer, Served
from tests.crash.reference import MODEL
from tests.crash.scenario import Outcome, Request, Walk, life, outcome
from tests.crash.strace import Strace

_MOST_SERVERS = 4
# Checkpoints come when the scenario asks, so that every run makes the same calls.
CALM = (
    *("--default-model", MODEL, "--device", "cpu", "--retain-checkpoints", "2"),
    *("--checkpoint-every-s", "100000"),
)


@dataclass(frozen=True, slots=True)
class Rig:
    """What every trial of a scenario shares.

    Attributes:
        forks: where servers are forked.
        template: the models directory that each trial starts from.
        requests: the scenario.
        expected: of its uninterrupted run.
    """

    forks: ForkServer
    template: Path
    requests: Sequence[Request]
    expected: Outcome

    def copy(self, target: Path) -> Path:
        """A models directory for one trial."""
        return Path(shutil.copytree(self.template, target))

    def walk(self, *, stops_at: int | None = None) -> Walk:
        """A client at the beginning, that goes so many requests far."""
        return Walk(self.requests[:stops_at], self.expected.answers)

    def traced(
        self, models_dir: Path, arguments: Sequence[str], output: Path = Path("/dev/null")
    ) -> tuple[Walk, int]:
        """Walk on a server under strace, and drain it; the client and the exit code."""
        walk = self.walk()
        with (
            Served(self.forks, models_dir, CALM, before=["known_names"], is_held=True) as served,
            Strace(served.pid, *arguments, output=output),
        ):
            served.release()
            walk.go(served)
            return walk, served.stop()

    def recover(self, models_dir: Path, walk: Walk) -> list[str]:
        """Finish the walk on servers that nothing happens to; everything that is wrong."""
        for _ in range(_MOST_SERVERS):
            with Served(self.forks, models_dir, CALM) as served:
                if not served.wait_ready():
                    return [f"no start after the crash: {served.text}"]
                if walk.go(served):
                    wrong = self._differences(outcome(served))
                    return [*walk.faults, *wrong, *self._again(models_dir, served)]
        return [*walk.faults, f"stuck at request {len(walk.answers)}: {walk.refusals}"]

    def _again(self, models_dir: Path, before: Served) -> list[str]:
        """What a last kill and start changes."""
        before.kill()
        with Served(self.forks, models_dir, CALM) as served:
            if not served.wait_ready():
                return [f"no second start: {served.text}"]
            return self._differences(outcome(served))

    def _differences(self, found: dict[str, object]) -> list[str]:
        expected = self.expected.state
        return [] if found == expected else [f"expected the state {expected}, found {found}"]


def make_rig(forks: ForkServer, template: Path, models_dir: Path) -> Rig:
    """Run the scenario once without any interruption, and remember what came out."""
    shutil.copytree(template, models_dir)
    walk = Walk(life())
    with Served(forks, models_dir, CALM) as served:
        assert walk.go(served), f"{walk.faults} {walk.refusals}\n{served.text}"
        assert walk.faults == []
        expected = Outcome(tuple(walk.answers), outcome(served))
        assert served.stop() == 0, served.text
    return Rig(forks, template, walk.requests, expected)
