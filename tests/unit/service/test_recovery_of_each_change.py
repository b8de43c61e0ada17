"""Each kind of change is replayed, also as the last one; what cannot be had is said."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.service import Service
from app.types import Batch, StateDescription
from tests.unit.service.examples import flip, learn, live_once, look, step

Change = Callable[[Service], Awaitable[Any]]
ROWS = step(0).batch.hidden_states

CHANGES: dict[str, Change] = {
    "step": lambda service: service.train_step("m", step(9)),
    "serving": lambda service: service.controls.promote("m", 4),
    "config": lambda service: service.controls.configure("m", (0.5,)),
    "rollback": lambda service: service.controls.rollback("m", 4),
    "fit": lambda service: service.controls.fit("m", Batch(hidden_states=ROWS)),
    "import": lambda service: service.controls.replace("m", {"weight": np.eye(2, 6, dtype="f4")}),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_that_was_the_last_one_is_recovered(tmp_path: Path, change: Change) -> None:
    async def learn_and_change(service: Service) -> StateDescription:
        await learn(service)
        await change(service)
        return await service.state("m")

    before = live_once(tmp_path / "a", learn_and_change, crash_to=tmp_path / "b")
    assert before.seq == 7
    assert live_once(tmp_path / "b", look) == before


def test_a_damaged_version_that_no_journal_reaches_is_said(tmp_path: Path) -> None:
    async def not_loaded(service: Service) -> str:
        return service.models.not_loaded["m"]

    live_once(tmp_path, learn)  # the end wrote version 7
    flip(tmp_path / "m" / "7" / "model.safetensors")
    for path in tmp_path.glob("m/journal*"):
        path.unlink()
    assert "version 7 of 'm' is damaged" in live_once(tmp_path, not_loaded)
