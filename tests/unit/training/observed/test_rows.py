from __future__ import annotations

import pytest
import torch

from app.codecs import BLOCK_ROWS
from app.codecs.digest import blocked_digest
from app.training.observed import Rows
from app.training.observed.mirror import Mirror

B = BLOCK_ROWS


def numbered(count: int, first: int = 0) -> torch.Tensor:
    return torch.arange(first * 3, (first + count) * 3, dtype=torch.float32).reshape(count, 3)


@pytest.mark.parametrize("parts", [[0], [1], [B], [B - 1, 2], [3, 2 * B, 1], [B, B, 1]])
def test_rows_are_what_was_appended(parts: list[int]) -> None:
    rows, count = Rows(width=3), 0
    for part in parts:
        rows = rows.appended(numbered(part, count))
        count += part
    assert rows.count == count
    assert torch.equal(rows.tensor(), numbered(count))


@pytest.mark.parametrize("parts", [[1], [B - 1, 2], [3, 2 * B, 1]])
def test_the_digest_does_not_depend_on_how_rows_came(parts: list[int]) -> None:
    rows, count = Rows(width=3), 0
    for part in parts:
        rows = rows.appended(numbered(part, count))
        count += part
    assert rows.digest() == Rows.of(numbered(count)).digest()


def test_a_replaced_row_changes_its_block_and_shares_the_others() -> None:
    before = Rows(width=3).appended(numbered(3 * B))
    after = before.replaced({B + 1: torch.tensor([7.0, 8.0, 9.0])})
    expected = numbered(3 * B)
    expected[B + 1] = torch.tensor([7.0, 8.0, 9.0])
    assert torch.equal(after.tensor(), expected)
    assert torch.equal(before.tensor(), numbered(3 * B))
    assert [a is b for a, b in zip(before.blocks, after.blocks, strict=True)] == [True, False, True]
    assert before.digest() != after.digest()


def test_rows_keep_none_of_a_batch_alive() -> None:
    batch = numbered(100 * B)
    rows = Rows(width=3).appended(batch)
    sizes = {block.rows.untyped_storage().nbytes() for block in rows.blocks}
    assert sizes == {B * 3 * 4}


def test_a_mirror_follows_every_change_and_goes_back() -> None:
    mirror = Mirror(torch.device("cpu"), capacity=6 * B)
    states = [Rows(width=3).appended(numbered(5))]
    states.append(states[-1].appended(numbered(4 * B, 5)))
    states.append(states[-1].replaced({0: torch.ones(3), 3 * B: torch.zeros(3)}))
    states.append(states[-1].appended(numbered(1)))
    for state in [*states, *states[::-1]]:
        assert torch.equal(mirror.of(state), state.tensor())


def test_shape_and_dtype_are_in_a_digest() -> None:
    digests = {
        blocked_digest(dtype, shape, [b"x"])
        for dtype in ("<f4", "<f8")
        for shape in ((4, 2), (2, 4))
    }
    assert len(digests) == 4
