from __future__ import annotations

import numpy as np
import torch

from app.engine.staged import StagedMultiplier
from app.engine.staging import Staging
from tests.unit.engine.rows import WIDTH, exact, make_snapshot, random_rows

CPU = torch.device("cpu")


def test_memory_is_used_again_and_grows_by_doubling() -> None:
    staging = Staging()
    sizes = []
    for rows in (10, 4, 11, 19, 60):
        staging.room(rows, WIDTH)
        sizes.append(staging.capacity // WIDTH)
    assert sizes == [10, 10, 20, 20, 60]


def test_the_same_shape_is_the_same_room() -> None:
    staging = Staging()
    first = staging.room(2, 3)
    assert staging.gather([random_rows(2, 3)], 2) is first
    assert staging.room(3, 2) is not first


def test_any_width_uses_the_same_memory() -> None:
    staging = Staging()
    assert staging.room(6, 4).data_ptr() == staging.room(2, 12).data_ptr()
    assert staging.capacity == 24


def test_rows_lie_one_below_the_other_and_zeros_below_them() -> None:
    staging = Staging()
    staging.room(8, 3).fill_(7.0)  # what lay there before
    parts = [random_rows(2, 3, seed=1), random_rows(3, 3, seed=2)]
    gathered = staging.gather(parts, 8).numpy()
    np.testing.assert_array_equal(gathered, np.concatenate([*parts, np.zeros((3, 3), np.float32)]))


def test_a_batch_in_pieces_is_the_same_as_a_whole_one() -> None:
    snapshot, rows = make_snapshot(), random_rows(23)
    multiplier = StagedMultiplier(CPU, piece_bytes=5 * WIDTH * 4)  # five pieces in two places
    np.testing.assert_allclose(
        multiplier.multiply(snapshot, [rows]), exact(snapshot, rows), atol=1e-4
    )


def test_several_requests_are_one_batch_and_the_answer_is_nobody_elses_memory() -> None:
    snapshot, parts = make_snapshot(), [random_rows(2), random_rows(3)]
    multiplier = StagedMultiplier(CPU)
    first = multiplier.multiply(snapshot, parts)
    kept = first.copy()
    multiplier.multiply(snapshot, [random_rows(5, seed=9)])
    np.testing.assert_array_equal(first, kept)
    np.testing.assert_allclose(first, exact(snapshot, np.concatenate(parts)), atol=1e-4)


def test_the_memory_for_pieces_is_bounded_by_a_piece() -> None:
    snapshot = make_snapshot()
    multiplier = StagedMultiplier(CPU, piece_bytes=5 * WIDTH * 4)
    multiplier.multiply(snapshot, [random_rows(200)])
    assert [staging.capacity for staging in multiplier.outgoing] == [5 * WIDTH, 5 * WIDTH]


def test_a_row_that_is_wider_than_a_piece_is_a_piece() -> None:
    snapshot, rows = make_snapshot(), random_rows(3)
    multiplier = StagedMultiplier(CPU, piece_bytes=16)
    np.testing.assert_allclose(
        multiplier.multiply(snapshot, [rows]), exact(snapshot, rows), atol=1e-4
    )
