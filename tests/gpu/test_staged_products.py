"""Products on CUDA by way of pinned memory: the same vectors, together or in pieces."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
import torch

from app.config import parse_config
from app.engine import Engine, choose_device
from app.engine.multiplier import HostMultiplier
from app.engine.out_of_memory import is_out_of_memory
from app.engine.snapshot import Snapshot
from app.engine.staged import StagedMultiplier
from app.engine.staging import Staging
from app.settings import Settings
from app.types import FloatArray

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device"),
]

WIDTH = 384
CUDA = torch.device("cuda:0")


def random_rows(count: int) -> FloatArray:
    return np.random.default_rng(count).standard_normal((count, WIDTH), dtype=np.float32)


def make_engine(**settings: object) -> tuple[Engine, Snapshot]:
    engine = Engine(choose_device("cuda"), Settings.model_validate(settings))
    layer = {"type": "QRReduction", "n_components": 96, "bias": True}
    config = parse_config({"input_size": WIDTH, "layers": [layer]})
    return engine, engine.snapshot("m", engine.initial(config))


async def together(engine: Engine, snapshot: Snapshot, parts: list[FloatArray]) -> list[FloatArray]:
    with engine.admission.admit() as ticket:
        answers = [engine.reduce(ticket, snapshot, part) for part in parts]
        return [product.array for product in await asyncio.gather(*answers)]


def test_staging_for_a_device_is_pinned() -> None:
    assert Staging(pinned=True).room(3, 4).is_pinned()


@pytest.mark.parametrize("rows", [1, 7, 1000, 50_000])
def test_pieces_and_places_change_nothing(rows: int) -> None:
    engine, snapshot = make_engine()
    hidden_states = random_rows(rows)
    expected = HostMultiplier().multiply(snapshot, [hidden_states])
    staged = StagedMultiplier(CUDA, piece_bytes=1 << 20)
    for _ in range(3):  # each time through memory that the one before has used
        found = staged.multiply(snapshot, [hidden_states])
        np.testing.assert_allclose(found, expected, atol=1e-4)
    engine.close(1)


def test_many_requests_at_once_each_get_their_own() -> None:
    engine, snapshot = make_engine()
    parts = [random_rows(count) for count in range(1, 65)]
    for part, found in zip(parts, asyncio.run(together(engine, snapshot, parts)), strict=True):
        expected = HostMultiplier().multiply(snapshot, [part])
        np.testing.assert_allclose(found, expected, atol=1e-4)
    engine.close(1)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_deterministic_rows_have_the_same_bits_in_whatever_company(dtype: str) -> None:
    engine, snapshot = make_engine(deterministic=True, dtype=dtype)
    rows = random_rows(600)
    alone = np.concatenate(asyncio.run(together(engine, snapshot, [*rows[:, None]])))
    whole = np.concatenate(asyncio.run(together(engine, snapshot, [rows])))
    np.testing.assert_array_equal(alone, whole)
    engine.close(1)


def test_a_device_without_memory_says_so() -> None:
    with pytest.raises(torch.OutOfMemoryError) as refusal:
        torch.empty(1 << 45, device=CUDA)
    assert is_out_of_memory(refusal.value)
