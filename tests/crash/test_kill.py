"""Statements 1, 3, 10: `kill -9` at any time loses nothing, doubles nothing, changes no bit."""

from __future__ import annotations

import random
from time import sleep

from tests.crash.conftest import NewModels
from tests.crash.load import EAGER, Load, faults, state_of
from tests.crash.processes import ForkServer, Served
from tests.crash.scale import report, scaled

_KILLS = scaled(small=8, full=240)


def test_random_kills_lose_nothing_and_double_nothing(
    forks: ForkServer, new_models: NewModels
) -> None:
    load, models_dir, when = Load(), new_models(), random.Random(3)
    for number in range(_KILLS):
        with Served(forks, models_dir, EAGER) as served:
            # Every fourth one dies while it starts and replays.
            if number % 4 < 3:
                load.meet(served)
            sleep(when.uniform(0.02, 0.27))  # the moment of the kill is the experiment
            assert served.kill() == -9, served.text
    with Served(forks, models_dir, EAGER) as served:
        state = load.settle(served)
        served.kill()
    with Served(forks, models_dir, EAGER) as served:
        assert state_of(served)["state_digest"] == state["state_digest"]
    assert faults(load.ledger, state) == []
    report(
        f"{_KILLS} kills, {len(load.ledger.replies)} steps acknowledged, "
        f"{load.ledger.num_resent} sent again, {len(load.ledger.seen)} versions read: 0 lost, "
        "0 doubled"
    )
