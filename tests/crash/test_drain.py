"""Statement 9: SIGTERM under load ends in order, and the next start replays nothing."""

from __future__ import annotations

import random
from time import sleep

from tests.crash.conftest import NewModels
from tests.crash.load import EAGER, Load, faults, state_of
from tests.crash.processes import ForkServer, Served
from tests.crash.scale import report, scaled

_DRAINS = scaled(small=3, full=200)


def test_drains_at_random_times_lose_nothing_and_leave_nothing_to_replay(
    forks: ForkServer, new_models: NewModels
) -> None:
    load, models_dir, when = Load(), new_models(), random.Random(5)
    for _ in range(_DRAINS):
        with Served(forks, models_dir, EAGER) as served:
            state = state_of(served)
            assert state["checkpoint"] == state["version"], "steps were replayed"
            load.meet(served)
            sleep(when.uniform(0.02, 0.27))  # the moment of the signal is the experiment
            assert served.stop() == 0, served.text
    with Served(forks, models_dir, EAGER) as served:
        state = load.settle(served)
    assert faults(load.ledger, state) == []
    report(f"{_DRAINS} drains, {len(load.ledger.replies)} steps acknowledged: all exit code 0")
