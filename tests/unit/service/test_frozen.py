"""A frozen model: served and never trained; a refusal of it uses nothing up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from app.config import ModelConfig, parse_config
from app.errors import Conflict
from app.service import Line, Service
from app.types import Batch, StateDescription, TrainStep
from tests.unit.service.examples import CONFIG, key, live_once, step

_FROZEN = CONFIG.model_copy(update={"frozen": True})
_LARGE = TrainStep(batch=Batch(hidden_states=np.full((200_000, 6), np.nan, np.float32)))


async def train_in_vain(service: Service) -> tuple[StateDescription, StateDescription]:
    """Every way to train; what the model was before and is afterwards."""
    await service.create("m", _FROZEN)
    before = await service.state("m")
    for attempt in (
        lambda: service.train_step("m", step(0), key("k", 0)),
        lambda: service.train_step("m", _LARGE),
        lambda: service.steps.join("m", step(0), key("k", 0), Line()),
        lambda: service.controls.fit("m", step(0).batch),
    ):
        with pytest.raises(Conflict) as raised:
            await attempt()
        assert raised.value.code == "model_frozen"
    keys = service.histories["m"].keys
    assert (keys.find(key("k", 0)), len(keys)) == (None, 0)
    return before, await service.state("m")


def test_a_refusal_queues_journals_and_remembers_nothing(tmp_path: Path) -> None:
    before, after = live_once(tmp_path, train_in_vain)
    assert after == before


async def train_later(service: Service) -> str:
    with pytest.raises(Conflict) as raised:
        await service.train_step("m", step(0))
    return raised.value.code


def test_it_stays_frozen_after_a_restart(tmp_path: Path) -> None:
    live_once(tmp_path, train_in_vain)
    assert live_once(tmp_path, train_later) == "model_frozen"


def test_a_config_of_before_is_not_frozen() -> None:
    document = CONFIG.model_dump(mode="json", exclude={"frozen"})
    assert parse_config(document) == CONFIG
    assert not ModelConfig.model_fields["frozen"].default
