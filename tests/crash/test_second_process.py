"""Statement 16: one process a models directory."""

from __future__ import annotations

from tests.crash.conftest import NewModels
from tests.crash.processes import ForkServer, Served
from tests.crash.trial import CALM


def test_a_second_server_is_refused_and_the_lock_dies_with_the_first(
    forks: ForkServer, new_models: NewModels
) -> None:
    models_dir = new_models()
    with Served(forks, models_dir, CALM) as first:
        first.ready()
        with Served(forks, models_dir, CALM) as second:
            assert second.wait() == 3
        assert "another process is using the models directory" in second.text
        first.kill()
        with Served(forks, models_dir, CALM) as third:
            third.ready()
