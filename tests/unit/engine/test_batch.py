"""What comes of a batch: copies, and what happens where memory is short."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from app.engine.batch import Product, outcomes
from app.engine.multiplier import HostMultiplier
from app.engine.out_of_memory import MemoryWatch
from app.engine.snapshot import Snapshot
from app.errors import Unavailable
from app.types import FloatArray
from tests.unit.engine.rows import (
    CountingMultiplier,
    StarvedMultiplier,
    exact,
    make_snapshot,
    random_rows,
)

SNAPSHOT = make_snapshot()
FOUR = random_rows(4)


def is_short(found: object) -> bool:
    return isinstance(found, Unavailable) and found.code == "out_of_memory"


def test_one_request_is_multiplied_where_it_lies() -> None:
    multiplier = HostMultiplier()
    multiplier.multiply(SNAPSHOT, [FOUR])
    assert multiplier.staging.num_rows == 0


def test_several_requests_are_copied_once_each() -> None:
    multiplier = HostMultiplier()
    multiplier.multiply(SNAPSHOT, [FOUR, FOUR[:1], FOUR])
    assert multiplier.staging.num_rows == 9


def test_the_answers_are_views_of_one_product() -> None:
    first, second = outcomes(HostMultiplier(), MemoryWatch(), SNAPSHOT, [FOUR, FOUR])
    assert isinstance(first, Product)
    assert isinstance(second, Product)
    assert first.array.base is not None
    assert first.array.base is second.array.base


def test_rows_that_lie_between_two_steps_of_memory_are_copied() -> None:
    body = np.zeros(FOUR.nbytes + 64, np.uint8)
    begin = -body.ctypes.data % 16 + 8
    moved = body[begin : begin + FOUR.nbytes].view(np.float32).reshape(FOUR.shape)
    moved[:] = FOUR
    multiplier = HostMultiplier()
    np.testing.assert_array_equal(
        multiplier.multiply(SNAPSHOT, [moved]), HostMultiplier().multiply(SNAPSHOT, [FOUR])
    )
    assert multiplier.staging.num_rows == 4


def test_a_batch_that_finds_no_memory_is_tried_in_halves() -> None:
    multiplier, memory = StarvedMultiplier(8), MemoryWatch()
    found = outcomes(multiplier, memory, SNAPSHOT, [FOUR] * 4)
    for outcome in found:
        assert isinstance(outcome, Product)
        np.testing.assert_allclose(outcome.array, exact(SNAPSHOT, FOUR), atol=1e-4)
    assert multiplier.products == [(4, 4, 4, 4), (4, 4), (4, 4)]


def test_one_request_that_finds_no_memory_is_tried_in_halves() -> None:
    multiplier = StarvedMultiplier(3)
    (outcome,) = outcomes(multiplier, MemoryWatch(), SNAPSHOT, [random_rows(5)])
    assert isinstance(outcome, Product)
    np.testing.assert_allclose(outcome.array, exact(SNAPSHOT, random_rows(5)), atol=1e-4)
    assert multiplier.products == [(5,), (3,), (2,)]


@pytest.mark.parametrize("parts", [[FOUR], [FOUR[:1]], [FOUR, FOUR, FOUR]])
def test_what_finds_no_memory_in_halves_either_is_told_so(parts: list[FloatArray]) -> None:
    found = outcomes(StarvedMultiplier(0), MemoryWatch(), SNAPSHOT, parts)
    assert [is_short(outcome) for outcome in found] == [True] * len(parts)


def test_only_the_half_that_finds_no_memory_is_refused() -> None:
    multiplier = StarvedMultiplier(8)
    found = outcomes(multiplier, MemoryWatch(), SNAPSHOT, [FOUR, FOUR, FOUR, random_rows(9)])
    assert [is_short(outcome) for outcome in found] == [False, False, True, True]


def test_three_batches_in_a_row_are_a_state_until_one_succeeds() -> None:
    multiplier, memory = StarvedMultiplier(0), MemoryWatch()
    states = []
    for _ in range(3):
        outcomes(multiplier, memory, SNAPSHOT, [FOUR])
        states.append(memory.is_short)
    multiplier.most_rows = 4
    outcomes(multiplier, memory, SNAPSHOT, [FOUR])
    assert [*states, memory.is_short] == [False, False, True, False]


def test_the_state_ends_half_a_minute_after_the_last_failure() -> None:
    now = [0.0]
    memory = MemoryWatch(lambda: now[0])
    for _ in range(3):
        memory.failed()
    states = []
    for now[0] in (0.0, 29.9, 30.0):
        states.append(memory.is_short)
    assert states == [True, True, False]


def test_another_failure_is_no_matter_of_memory() -> None:
    memory = MemoryWatch()
    wide = random_rows(4, 49)
    found = [outcomes(CountingMultiplier(), memory, SNAPSHOT, [wide])[0] for _ in range(3)]
    assert not any(map(is_short, found))
    assert not memory.is_short


class BrokenDevice(HostMultiplier):
    """Finds no memory, and then fails altogether."""

    def multiply(self, snapshot: Snapshot, parts: Sequence[FloatArray]) -> FloatArray:
        raise torch.OutOfMemoryError("CUDA out of memory")


def test_a_device_that_fails_while_it_gives_memory_back_answers_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail() -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(torch.cuda, "empty_cache", fail)
    snapshot = make_snapshot()
    snapshot.device = torch.device("cuda")
    found = outcomes(BrokenDevice(), MemoryWatch(), snapshot, [FOUR, FOUR])
    assert [is_short(outcome) for outcome in found] == [True, True]
