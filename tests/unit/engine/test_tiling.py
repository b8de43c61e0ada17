"""`deterministic`: the bits of a row depend on nothing but the row and the version."""

from __future__ import annotations

import asyncio
import logging

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st
from torch import Tensor

from app.config import parse_config
from app.engine import Engine, Job, choose_device
from app.engine.snapshot import Snapshot
from app.engine.tiling import CANDIDATES, FREE, Tiling, choose_tiling
from app.settings import Settings
from app.types import Batch, FloatArray, TrainStep
from tests.unit.engine.rows import random_rows

PADDED, TILES, ROW_BY_ROW = CANDIDATES
# The last needs a product of its own for each row: five components of an odd width.
SHAPES = [(384, 96), (768, 128), (33, 5)]


def make_engine(*, deterministic: bool) -> Engine:
    return Engine(choose_device("cpu"), Settings(deterministic=deterministic))


def version_of(engine: Engine, width: int, n_components: int) -> Snapshot:
    layer = {"type": "QRReduction", "n_components": n_components, "bias": True}
    config = parse_config({"input_size": width, "layers": [layer]})
    return engine.snapshot("m", engine.initial(config))


async def together(engine: Engine, snapshot: Snapshot, parts: list[FloatArray]) -> FloatArray:
    """All parts in one turn of the loop, after one that had several requests, too."""
    for _ in range(2):
        with engine.admission.admit() as ticket:
            answers = [engine.reduce(ticket, snapshot, part) for part in parts]
            found = [product.array for product in await asyncio.gather(*answers)]
    return np.concatenate(found)


def alone(engine: Engine, snapshot: Snapshot, rows: FloatArray) -> FloatArray:
    async def ask() -> FloatArray:
        with engine.admission.admit() as ticket:
            products = [await engine.reduce(ticket, snapshot, row[None]) for row in rows]
        return np.concatenate([product.array for product in products])

    return asyncio.run(ask())


@pytest.mark.parametrize(("rows", "height"), [(1, 16), (16, 16), (17, 24), (24, 24), (249, 256)])
def test_rows_are_padded_to_a_height_that_was_tried(rows: int, height: int) -> None:
    assert PADDED.height(rows) == height
    assert height in PADDED.heights


def test_more_rows_than_a_product_has_are_cut() -> None:
    cuts = [range(600)[cut] for cut in PADDED.cuts(600)]
    assert cuts == [range(256), range(256, 512), range(512, 600)]


def test_without_the_setting_nothing_is_padded_or_cut() -> None:
    engine = make_engine(deterministic=False)
    assert version_of(engine, 8, 3).tiling is FREE
    assert [FREE.height(rows) for rows in (1, 7, 5000)] == [1, 7, 5000]
    engine.close(1)


def by_height(num_broken: int) -> Tensor:
    """How much this device adds to a product of each height; a kernel of its own for some."""
    return torch.tensor([float(height <= num_broken) for height in range(257)])


@pytest.mark.parametrize(
    ("num_broken", "chosen"), [(15, PADDED), (24, TILES), (64, TILES), (0, PADDED)]
)
def test_the_first_candidate_that_keeps_bits_is_chosen(num_broken: int, chosen: Tiling) -> None:
    added = by_height(num_broken)
    assert choose_tiling(lambda rows: rows[:, :2] + added[len(rows)], 4) is chosen


def test_where_the_place_of_a_row_counts_each_row_is_made_alone() -> None:
    def multiply(rows: Tensor) -> Tensor:
        return rows[:, :2] + torch.arange(len(rows))[:, None]

    assert choose_tiling(multiply, 4) is ROW_BY_ROW


@pytest.mark.parametrize(("width", "n_components"), SHAPES)
@budget(max_examples=15)
@given(data=st.data())
def test_a_row_has_the_same_bits_in_whatever_company(
    width: int, n_components: int, data: st.DataObject
) -> None:
    engine = make_engine(deterministic=True)
    snapshot = version_of(engine, width, n_components)
    sizes = data.draw(st.lists(st.integers(1, 40), min_size=1, max_size=6))
    rows = random_rows(sum(sizes), width)
    order = np.array(data.draw(st.permutations(range(len(rows)))))
    parts = np.split(rows[order], np.cumsum(sizes)[:-1])
    found = asyncio.run(together(engine, snapshot, parts))
    np.testing.assert_array_equal(found, alone(engine, snapshot, rows)[order])
    engine.close(1)


@pytest.mark.parametrize("count", [257, 512, 1000])
def test_a_large_batch_has_the_bits_of_its_rows(count: int) -> None:
    engine = make_engine(deterministic=True)
    snapshot, rows = version_of(engine, 384, 96), random_rows(count, 384)
    found = asyncio.run(together(engine, snapshot, [rows]))
    np.testing.assert_array_equal(found, alone(engine, snapshot, rows))
    engine.close(1)


@pytest.mark.skipif(torch.cuda.is_available(), reason="what is measured of this CPU")
def test_without_the_setting_company_changes_bits_on_this_cpu() -> None:
    engine = make_engine(deterministic=False)
    snapshot, rows = version_of(engine, 768, 128), random_rows(32, 768)
    found = asyncio.run(together(engine, snapshot, [rows]))
    assert not np.array_equal(found, alone(engine, snapshot, rows))
    engine.close(1)


def test_the_log_says_which_tiling_is_used(caplog: pytest.LogCaptureFixture) -> None:
    engine = make_engine(deterministic=True)
    with caplog.at_level(logging.INFO, "slimvec.engine"):
        version_of(engine, 16, 4)
        version_of(engine, 16, 4)  # tried once
    assert [record.getMessage() for record in caplog.records] == [
        "deterministic: products with 4 x 16 weights are " + PADDED.name
    ]
    engine.close(1)


def test_a_version_that_is_learned_keeps_the_tiling_of_its_model() -> None:
    engine = make_engine(deterministic=True)
    layer = {"type": "QRReduction", "n_components": 4}
    live = engine.prepare("m", engine.initial(parse_config({"input_size": 16, "layers": [layer]})))
    engine.start(live, lambda changes: None)
    live.submit(Job(TrainStep(batch=Batch(hidden_states=random_rows(4, 16))))).result()
    assert (live.snapshot.stamp.version, live.snapshot.tiling) == (2, PADDED)
    engine.close(10)
