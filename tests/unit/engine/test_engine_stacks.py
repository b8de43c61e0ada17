"""Models of several layers on the engine: in pieces, alone, deterministic, in other dtypes."""

from __future__ import annotations

import asyncio
from typing import Any, TypeAlias

import numpy as np
import pytest
import torch

from app.config import parse_config
from app.engine import Engine, choose_device
from app.engine.alone import cost
from app.engine.snapshot import Snapshot
from app.engine.tiling import BY_ROW
from app.errors import ConfigInvalid
from app.layers import plain
from app.settings import Settings
from app.types import NOTHING_BESIDE, Beside, FloatArray
from tests.unit.engine.rows import random_rows

Layers: TypeAlias = list[dict[str, Any]]

# Its 65,536 numbers of each row let 256 rows into one product.
WIDE: Layers = [{"type": "Linear", "out_features": 65_536}, {"type": "Linear", "out_features": 2}]
NORMED: Layers = [{"type": "Linear", "out_features": 33}, {"type": "BatchNorm1d"}, {"type": "GELU"}]
BRANCHED: Layers = [
    {
        "type": "ModuleDict",
        "branches": {name: [{"type": "Linear", "out_features": 5}] for name in ("a", "b")},
    }
]


def make_engine(**settings: object) -> Engine:
    return Engine(choose_device("cpu"), Settings.model_validate(settings))


def version_of(engine: Engine, layers: Layers, *shape: int | None) -> Snapshot:
    document: dict[str, Any] = {"input_size": shape[-1], "layers": layers, "recipe": "plain"}
    config = parse_config(document if len(shape) == 1 else {**document, "input_shape": shape})
    return engine.snapshot("m", engine.initial(config))


def reduce(
    engine: Engine, snapshot: Snapshot, *parts: FloatArray, beside: Beside = NOTHING_BESIDE
) -> list[FloatArray]:
    """What each part gives, all of them asked for in one turn of the loop."""

    async def ask() -> list[FloatArray]:
        with engine.admission.admit() as ticket:
            answers = [engine.reduce(ticket, snapshot, part, beside) for part in parts]
            return [product.array for product in await asyncio.gather(*answers)]

    return asyncio.run(ask())


@pytest.mark.parametrize("shape", [(4,), (None, 4)])
def test_a_stack_that_holds_much_of_a_row_takes_few_rows_at_once(shape: tuple[int | None]) -> None:
    engine = make_engine()
    snapshot = version_of(engine, WIDE, *shape)
    rows = random_rows(600, 4)
    given = rows if len(shape) == 1 else rows.reshape(3, 200, 4)
    heights: list[int] = []
    multiply = snapshot.product

    def watched(rows: torch.Tensor) -> torch.Tensor:
        heights.append(rows.numel() // 4)
        return multiply(rows)

    snapshot.product = watched
    (reduced,) = reduce(engine, snapshot, given)
    assert max(heights) <= 256
    expected = multiply(torch.from_numpy(rows)).numpy()
    np.testing.assert_allclose(reduced.reshape(-1, 2), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("layers", "shape", "beside"),
    [
        (NORMED, (7,), NOTHING_BESIDE),
        (NORMED, (3, 7), NOTHING_BESIDE),
        (BRANCHED, (33,), Beside(branch="b")),
    ],
)
def test_deterministic_rows_of_a_stack_keep_their_bits_in_any_company(
    layers: Layers, shape: tuple[int, ...], beside: Beside
) -> None:
    if len(shape) == 2:  # BatchNorm1d counts channels first
        layers = [{"type": "LayerNorm"}, *layers[::2]]
    engine = make_engine(deterministic=True)
    snapshot = version_of(engine, layers, *shape)
    rows = random_rows(40, int(np.prod(shape))).reshape(40, *shape)
    (together,) = reduce(engine, snapshot, rows, beside=beside)
    alone = reduce(engine, snapshot, *np.split(rows, 40), beside=beside)
    np.testing.assert_array_equal(np.concatenate(alone), together)


def test_layers_of_one_shape_do_not_share_a_tiling_that_was_tried_on_others() -> None:
    engine = make_engine(deterministic=True)
    for activation in ("ReLU", "Tanh"):
        layers: Layers = [{"type": "Linear", "out_features": 5}, {"type": activation}]
        version_of(engine, layers, 7)
    assert len(engine._tilings._known) == 2


def test_rows_that_are_no_vectors_are_made_one_by_one_where_bits_count() -> None:
    engine = make_engine(deterministic=True)
    assert version_of(engine, NORMED[::2], None, 7).tiling is BY_ROW


@pytest.mark.parametrize(("dtype", "atol"), [("bfloat16", 0.05), ("float16", 0.01)])
def test_a_stack_in_half_precision_is_near_the_exact_one(dtype: str, atol: float) -> None:
    engine = make_engine(dtype=dtype)
    snapshot = version_of(engine, NORMED, 7)
    config = parse_config({"input_size": 7, "layers": NORMED, "recipe": "plain"})
    rows = random_rows(9, 7)
    (reduced,) = reduce(engine, snapshot, rows)
    exact = plain(config, snapshot.tensors)(torch.from_numpy(rows)).numpy()
    assert reduced.dtype == np.float32
    np.testing.assert_allclose(reduced, exact, atol=atol)


def test_a_longer_row_costs_more() -> None:
    snapshot = version_of(make_engine(), [{"type": "Linear", "out_features": 5}], None, 7)
    assert [cost(snapshot, random_rows(2 * n, 7).reshape(2, n, 7)) for n in (1, 9)] == [70, 630]


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([{"type": "Linear", "out_features": 65_536}] * 2, "at most 67108864 weights in all"),
        ([{"type": "Linear", "out_features": 65_536}], "at most 16777216 numbers of one row"),
    ],
)
def test_layers_too_large_for_a_server_are_refused_before_they_are_built(
    layers: Layers, message: str
) -> None:
    config = parse_config(
        {"input_size": 8, "input_shape": [1024, 8], "layers": layers, "recipe": "plain"}
    )
    with pytest.raises(ConfigInvalid, match=message) as refusal:
        make_engine().initial(config)
    assert refusal.value.pointer == "/layers"


def test_a_stack_may_widen() -> None:
    engine = make_engine()
    assert version_of(engine, [{"type": "Linear", "out_features": 9}], 4).n_components == 9
