"""A group of steps of the recipe `distil` that cannot be kept."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from app.engine import Engine, Job, choose_device
from app.errors import StorageFull
from app.settings import Settings
from app.types import Change
from tests.unit.training.distil_examples import FIRST_GRADIENT, distil_config, stream


class FullDisk:
    """Keeps everything until it is full."""

    def __init__(self) -> None:
        self.is_full = False

    def __call__(self, changes: Sequence[Change]) -> None:
        if self.is_full:
            raise StorageFull("storage_full", "no room")


@pytest.mark.parametrize("before", [3, FIRST_GRADIENT - 1, FIRST_GRADIENT + 2])
def test_a_group_that_cannot_be_kept_is_undone_with_what_it_observed(before: int) -> None:
    engine, disk = Engine(choose_device("cpu"), Settings()), FullDisk()
    live = engine.prepare("m", engine.initial(distil_config()))
    live.start(disk, queue_size=8, group_size=4)
    steps = stream()
    for step in steps[:before]:
        live.submit(Job(step)).result()
    wanted = live.stand(lambda: None).result()
    disk.is_full = True
    for lost in [live.submit(Job(step)) for step in steps[before : before + 3]]:
        with pytest.raises(StorageFull):
            lost.result()
    assert live.stand(lambda: None).result() == wanted
    assert live.close(timeout_s=10)
    engine.close(1)
