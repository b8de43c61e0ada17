from __future__ import annotations

import pytest
import torch

from app.training.observed import Drift, Moments, OuterSum
from app.training.observed.moments import WIDEST_DOUBLE, moment_dtype


def rows(count: int, width: int = 5, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("batch", [1, 7, 64, 511, 512, 3000])
def test_moments_are_those_of_all_rows(batch: int) -> None:
    stream, moments = rows(1400), Moments.empty(5)
    for part in torch.split(stream, batch):
        moments = moments.extended(part)
    exact = stream.double()
    assert moments.count == 1400
    torch.testing.assert_close(moments.sum.tensor()[0], exact.sum(dim=0))
    torch.testing.assert_close(moments.second.mean(), exact.mT @ exact / 1400)


def test_the_pair_moment_is_of_half_the_differences() -> None:
    queries, documents = rows(40), rows(40, seed=1)
    moments = Moments.empty(5).extended(torch.cat([queries, documents]), (queries - documents) / 2)
    apart = (queries - documents).double()
    torch.testing.assert_close(moments.pairs.mean(), apart.mT @ apart / 40 / 4)
    assert (moments.count, moments.pairs.count) == (80, 40)


def test_moments_before_are_as_they_were() -> None:
    before = Moments.empty(5).extended(rows(500))
    wanted = before.second.total()
    before.extended(rows(600, seed=1))
    assert torch.equal(before.second.total(), wanted)


def test_few_rows_change_no_more_than_what_is_pending() -> None:
    before = Moments.empty(5).extended(rows(600))
    after = before.extended(rows(30, seed=1))
    assert after.second.products is before.second.products


def test_a_known_sum_goes_on() -> None:
    first, second = rows(30).double(), rows(40, seed=1)
    known = OuterSum.of(first.mT @ first, 30).extended(second)
    whole = torch.cat([first, second.double()])
    assert known.count == 70
    torch.testing.assert_close(known.total(), whole.mT @ whole)


@pytest.mark.parametrize(
    ("width", "dtype"), [(WIDEST_DOUBLE, torch.float64), (WIDEST_DOUBLE + 1, torch.float32)]
)
def test_wide_moments_are_kept_in_single_precision(width: int, dtype: torch.dtype) -> None:
    assert moment_dtype(width) == OuterSum.empty(width).products.dtype == dtype


def test_drift_is_what_the_newest_lack() -> None:
    drift = Drift()
    for _ in range(200):
        drift = drift.following(0.8, 64)
    assert drift.figure == pytest.approx(0, abs=1e-12)
    for _ in range(40):
        drift = drift.following(0.4, 64)
    assert drift.newest < 0.45
    assert 0.35 < (drift.figure or 0) < 0.45


def test_drift_is_unknown_before_anything_was_measured() -> None:
    assert Drift().figure is None
