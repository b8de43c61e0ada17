"""Statements 2, 11: what was acknowledged is on the disk when the power goes."""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import sleep
from typing import Any

import pytest

from tests.crash import mounts, power, reference
from tests.crash.lanes import Ledger
from tests.crash.load import EAGER, Load, faults, state_of
from tests.crash.power import Disk
from tests.crash.processes import ForkServer, Served
from tests.crash.scale import IS_FULL, report, scaled

_MISSING = mounts.missing(*power.PROGRAMS)
_CUTS = scaled(small=3, full=60)

pytestmark = [
    pytest.mark.skipif(bool(_MISSING), reason=_MISSING),
    pytest.mark.skipif(not IS_FULL, reason="mounts disks: part of `make crash-test`"),
]


@dataclass(frozen=True, slots=True)
class Cut:
    """What clients had been told when the power went, and what the disk then held.

    Attributes:
        acknowledged: the newest version.
        state: of a server started on what was left; None when it refused to load the model.
    """

    acknowledged: int
    state: dict[str, Any] | None

    @property
    def num_lost(self) -> int:
        """How many acknowledged steps are gone."""
        return max(0, self.acknowledged - (self.state["version"] if self.state else 1))


def test_power_cuts_lose_no_acknowledged_step(
    forks: ForkServer, template: Path, tmp_path: Path
) -> None:
    with power.disk(tmp_path) as disk:
        cuts, ledger, state = cut_repeatedly(forks, template, disk)
    expected = reference.train([number for _, number in ledger.order])
    held = [(cut.state or {}).get("version", 0) for cut in cuts]
    digests = [(cut.state or {}).get("state_digest") for cut in cuts]
    report(
        f"{_CUTS} power cuts after {sum(c.acknowledged > 1 for c in cuts)} with steps "
        f"({len(ledger.replies)} in all): {sum(cut.num_lost for cut in cuts)} lost"
    )
    assert faults(ledger, state) == []
    assert [cut for cut in cuts if cut.num_lost] == []
    assert digests == [expected.state_digests[version] for version in held]


def test_the_rig_sees_the_losses_of_a_journal_that_never_syncs(
    forks: ForkServer, template: Path, tmp_path: Path
) -> None:
    with power.disk(tmp_path) as disk:
        cuts, _, _ = cut_repeatedly(forks, template, disk, before=["without_sync"])
    num_lossy = sum(cut.num_lost > 0 for cut in cuts)
    report(f"control, synchronous=OFF: {num_lossy} of {_CUTS} power cuts lost acknowledged steps")
    assert num_lossy > 0, "a rig that sees no loss here proves nothing"


def cut_repeatedly(
    forks: ForkServer, template: Path, disk: Disk, before: Sequence[str] = ()
) -> tuple[list[Cut], Ledger, dict[str, Any]]:
    """Serve under load from the disk; cut again and again; the last server's state."""
    models_dir = Path(shutil.copytree(template, disk.folder / "models"))
    mounts.run("sync", "--file-system", str(disk.folder))
    load, when, cuts = Load(), random.Random(7), []
    for _ in range(_CUTS):
        with Served(forks, models_dir, EAGER, before=before) as served:
            load.meet(served)
            sleep(when.uniform(0.02, 0.27))  # the moment of the cut is the experiment
            acknowledged = load.ledger.newest_version  # before the cut, never after it
            with disk.cut() as left:
                served.kill()
                cuts.append(Cut(acknowledged, _recovered(forks, left / "models")))
    with Served(forks, models_dir, EAGER) as served:
        return cuts, load.ledger, load.settle(served)


def _recovered(forks: ForkServer, models_dir: Path) -> dict[str, Any] | None:
    with Served(forks, models_dir, EAGER) as served:
        state: dict[str, Any] = state_of(served)
        return state if "state_digest" in state else None
