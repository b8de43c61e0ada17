from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from app.codecs.dtypes import BFLOAT16, FLOAT16, FLOAT64, to_float32
from app.errors import Unacceptable
from app.types import FloatArray

LARGEST = float(np.finfo(np.float32).max)
# Half way between the largest float32 and 2**128: from here on, rounding gives infinity.
FIRST_TOO_LARGE = LARGEST + 2.0**103


@given(arrays(np.uint16, st.integers(0, 20)))
def test_bfloat16_is_the_upper_half_of_float32(words: FloatArray) -> None:
    widened = to_float32(words, BFLOAT16, pointer="")
    halves = widened.view(np.uint32)
    assert (halves >> 16).tolist() == words.tolist()
    assert not np.any(halves & 0xFFFF)


@given(arrays(np.float16, st.integers(0, 20)))
def test_float16_is_exact(array: FloatArray) -> None:
    np.testing.assert_array_equal(to_float32(array, FLOAT16, pointer=""), array)


@pytest.mark.parametrize(
    ("value", "nearest"),
    [
        (LARGEST, LARGEST),
        (np.nextafter(FIRST_TOO_LARGE, 0), LARGEST),
        (1 + 2**-24, 1.0),
        (1e-320, 0.0),
        (-np.inf, -np.inf),
        (np.nan, np.nan),
    ],
)
def test_float64_is_rounded_to_nearest(value: float, nearest: float) -> None:
    np.testing.assert_array_equal(to_float32(np.array([value]), FLOAT64, pointer=""), [nearest])


@pytest.mark.parametrize("size", [1, 7, 16, 1001])
@pytest.mark.parametrize("value", [FIRST_TOO_LARGE, -1e39, 1e300])
def test_float64_that_would_become_infinite_is_refused(value: float, size: int) -> None:
    array = np.full((2, size), np.inf)
    array[1, -1] = value
    with pytest.raises(Unacceptable) as refused:
        to_float32(array, FLOAT64, pointer="/x")
    assert (refused.value.code, refused.value.pointer) == ("out_of_range", f"/x/1/{size - 1}")


def test_a_signalling_nan_warns_nobody() -> None:
    array = np.array([0x7FF0000000000001], np.uint64).view(np.float64)
    assert np.isnan(to_float32(array, FLOAT64, pointer=""))
