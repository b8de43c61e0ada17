from __future__ import annotations

import pytest

from app.codecs.shapes import check_dimensions, check_length, check_rows
from app.errors import SlimvecError


@pytest.mark.parametrize(
    ("sizes", "code"),
    [
        ([2**32, 2**32], "shape_overflow"),
        ([2**62, 4], "shape_overflow"),
        ([0, 2**63 - 1], "shape_overflow"),
        ([16, 2**60 + 2], "shape_overflow"),
        ([2**60], "shape_overflow"),
        ([-1, 2], "wrong_type"),
        ([True, 2], "wrong_type"),
        ([2.0], "wrong_type"),
        (["2"], "wrong_type"),
        ([None], "wrong_type"),
        ([1] * 9, "too_many_dimensions"),
        (["x"] * 65, "too_many_dimensions"),
    ],
)
def test_refuses_a_shape_that_cannot_be(sizes: list[object], code: str) -> None:
    with pytest.raises(SlimvecError) as refused:
        check_dimensions(sizes, pointer="/shape")
    assert (refused.value.code, refused.value.pointer) == (code, "/shape")


@pytest.mark.parametrize("sizes", [[], [0], [2, 3], [1] * 8, [2**60 - 1]])
def test_keeps_a_shape_that_can_be(sizes: list[int]) -> None:
    assert check_dimensions(sizes, pointer="") == tuple(sizes)


@pytest.mark.parametrize(
    ("shape", "code"),
    [
        ((), "wrong_type"),
        ((0,), "empty_batch"),
        ((10**9, 0), "empty_batch"),
        ((11, 1), "too_many_rows"),
        ((3, 4, 1), "too_many_rows"),
    ],
)
def test_refuses_no_rows_and_too_many(shape: tuple[int, ...], code: str) -> None:
    with pytest.raises(SlimvecError) as refused:
        check_rows(shape, max_rows=10, pointer="")
    assert refused.value.code == code


@pytest.mark.parametrize("shape", [(10**6,), (10, 5), (2, 5, 7)])
def test_rows_are_counted_without_the_last_dimension(shape: tuple[int, ...]) -> None:
    check_rows(shape, max_rows=10, pointer="")


@pytest.mark.parametrize("num_bytes", [23, 25, 0, 48])
def test_refuses_bytes_that_are_not_shape_times_itemsize(num_bytes: int) -> None:
    check_length(24, (2, 3), 4, pointer="")
    with pytest.raises(SlimvecError, match="expected 24 bytes"):
        check_length(num_bytes, (2, 3), 4, pointer="")
