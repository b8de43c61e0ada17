"""Statement 10: changes computed elsewhere are replayed only when the operator says so."""

from __future__ import annotations

from tests.crash import reference
from tests.crash.conftest import NewModels
from tests.crash.processes import ForkServer, Served
from tests.crash.trial import CALM
from tests.crash.wire import Wire

_TWO_THREADS = (*CALM, "--threads", "2")


def test_changes_of_another_environment_are_replayed_only_on_demand(
    forks: ForkServer, new_models: NewModels
) -> None:
    models_dir = new_models()
    with Served(forks, models_dir, CALM) as served, Wire(served.ready()) as wire:
        assert wire.train(reference.body(1), "step-1").status == 200
        served.kill()
    with Served(forks, models_dir, _TWO_THREADS) as served, Wire(served.ready()) as wire:
        refused = wire.reduce(reference.body(0))
        assert (refused.status, refused.code) == (503, "model_not_loaded")
        assert "threads" in refused.json["detail"]
    allowed = (*_TWO_THREADS, "--allow-divergent-replay")
    with Served(forks, models_dir, allowed) as served, Wire(served.ready()) as wire:
        assert wire.state()["version"] == 2
