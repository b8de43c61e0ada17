"""What every route shares: work that would hold up the event loop is done beside it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from threading import Event

import numpy as np
import pytest

from app.api.edge import Edge, is_long_to_encode, key_of
from app.api.gate import Gate
from app.api.streams.records import JsonReader, RawRecord, SafetensorsReader
from app.service import Service, make_key
from app.settings import Settings
from app.telemetry import Metrics
from app.types import Batch, Reduced, Stamp, TrainStep
from tests.unit.service.examples import live_once

LARGE = TrainStep(batch=Batch(hidden_states=np.ones((50_000, 6), np.float32)))
SMALL = TrainStep(batch=Batch(hidden_states=np.ones((5, 6), np.float32)))
# A teacher's targets may be of any width.
WIDE = TrainStep(batch=replace(SMALL.batch, targets=np.ones((5, 60_000), np.float32)))


@pytest.mark.parametrize(
    ("step", "is_made_at_once"), [(SMALL, True), (LARGE, False), (WIDE, False)]
)
def test_the_key_of_a_large_step_is_hashed_beside_the_loop(
    tmp_path: Path, step: TrainStep, is_made_at_once: bool
) -> None:
    async def ask(service: Service) -> tuple[bool, bool]:
        edge = Edge(service, Settings(), Metrics(), Gate(Settings()))
        is_free = Event()
        busy = service.aside(is_free.wait)
        asked = asyncio.ensure_future(key_of(edge, {"sender": "me"}, "k", step))
        await asyncio.sleep(0)
        was_made = asked.done()
        is_free.set()
        await busy
        return was_made, await asked == make_key("k", "me", step)

    assert live_once(tmp_path, ask) == (is_made_at_once, True)


@pytest.mark.parametrize(("mebibytes", "is_long"), [(1, (False, False)), (2, (True, False))])
def test_a_long_record_is_read_beside_the_loop(mebibytes: int, is_long: tuple[bool, bool]) -> None:
    body, limits = bytes(mebibytes << 20), Settings()
    readers = (JsonReader(limits), SafetensorsReader(limits, {}))
    found = tuple(RawRecord(body, reader).is_long for reader in readers)
    assert found == is_long


@pytest.mark.parametrize(
    ("numbers", "is_text", "is_long"),
    [
        (1 << 15, True, False),
        (1 << 16, True, True),
        (1 << 16, False, False),
        (1 << 21, False, True),
    ],
)
def test_an_answer_is_long_to_encode_as_text_sooner_than_in_binary(
    numbers: int, is_text: bool, is_long: bool
) -> None:
    reduced = Reduced(np.zeros((numbers // 64, 64), np.float32), Stamp("m", 1, "0" * 16))
    assert is_long_to_encode(reduced, is_text=is_text) is is_long
