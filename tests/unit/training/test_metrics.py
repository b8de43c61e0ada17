from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from app.training.metrics import (
    captured_energy,
    kept_neighbours,
    local_rank_agreement,
    mean_interval,
    mean_reciprocal_rank,
    neighbour_overlap,
    own_ranks,
    quality,
    rank_agreement,
    recall_at,
    sampled_queries,
)
from app.training.metrics import search as search_in_chunks

SAMPLE = Path(__file__).parents[3] / "examples" / "data" / "held_out.npy"


@pytest.fixture(scope="module")
def pairs() -> tuple[Tensor, Tensor]:
    rows = torch.from_numpy(np.load(SAMPLE)).float()
    return rows[:500], rows[500:]


def at_angles(*degrees: float, length: float = 1.0) -> Tensor:
    """Vectors in the plane, so that neighbours can be read off the angles."""
    return torch.tensor(
        [[length * math.cos(math.radians(d)), length * math.sin(math.radians(d))] for d in degrees]
    )


# The query at 0 degrees has its nearest documents at 10, 20, 30, 40 in this order.
FULL_QUERY, FULL_DOCS = at_angles(0), at_angles(10, 20, 30, 40)


@pytest.mark.parametrize(
    ("reduced_angles", "k", "overlap"),
    [
        ((1, 2, 3, 4), 2, 1.0),
        ((2, 1, 3, 4), 2, 1.0),  # the order inside the list does not count
        ((3, 4, 1, 2), 2, 0.0),
        ((1, 4, 2, 3), 2, 0.5),
        ((3, 1, 4, 2), 3, 2 / 3),
        ((4, 3, 2, 1), 4, 1.0),
    ],
)
def test_neighbour_overlap_counts_the_documents_that_stay(
    reduced_angles: tuple[float, ...], k: int, overlap: float
) -> None:
    found = neighbour_overlap(FULL_QUERY, FULL_DOCS, FULL_QUERY, at_angles(*reduced_angles), k=k)
    assert found == pytest.approx(overlap, abs=1e-12)


def test_neighbour_overlap_compares_directions_and_not_lengths() -> None:
    far_but_long = torch.cat([at_angles(10, 20), at_angles(30, 40, length=100)])
    assert neighbour_overlap(FULL_QUERY, FULL_DOCS, FULL_QUERY, far_but_long, k=2) == 1


def test_neighbour_overlap_averages_over_queries() -> None:
    queries, docs = at_angles(0, 50), at_angles(10, 20, 30, 40)
    swapped_for_the_second = at_angles(1, 2, 3, 4)
    found = neighbour_overlap(queries, docs, at_angles(0, 0), swapped_for_the_second, k=2)
    assert found == 0.5


@pytest.mark.parametrize(("rows", "k"), [(3, 2), (4, 5), (4, 0)])
def test_neighbour_overlap_refuses_what_has_no_answer(rows: int, k: int) -> None:
    with pytest.raises(ValueError, match="expected"):
        neighbour_overlap(FULL_QUERY, FULL_DOCS, FULL_QUERY, FULL_DOCS[:rows], k=k)


def test_own_ranks_count_the_documents_at_least_as_near() -> None:
    ranks = own_ranks(at_angles(0, 50, 0), FULL_DOCS, torch.tensor([0, 1, 3]))
    assert ranks.tolist() == [1, 3, 4]


@pytest.mark.parametrize("point", [0.0, 1.0, math.nan])
def test_a_layer_that_maps_all_to_one_point_ranks_last(point: float) -> None:
    ranks = own_ranks(torch.full((2, 3), point), torch.full((5, 3), point), torch.tensor([0, 4]))
    assert ranks.tolist() == [5, 5]


def test_ranks_become_reciprocal_rank_and_recall() -> None:
    ranks = torch.tensor([1, 2, 10, 11])
    assert mean_reciprocal_rank(ranks) == pytest.approx((1 + 1 / 2 + 1 / 10 + 1 / 11) / 4)
    assert (recall_at(ranks, 1), recall_at(ranks, 10)) == (0.25, 0.75)


def test_chunks_do_not_change_the_metrics(
    pairs: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    reduced = [rows[:, :96] for rows in pairs]
    whole = quality(*pairs, *reduced)
    monkeypatch.setattr(
        search_in_chunks, "_CHUNK_ENTRIES", 500 * 70
    )  # 70 queries at once; 500 is no multiple
    # One neighbour of 5,000 may change: matrix products round differently with their shape.
    assert quality(*pairs, *reduced) == pytest.approx(whole, abs=2 / 5000)


def test_the_full_dimension_keeps_everything(pairs: tuple[Tensor, Tensor]) -> None:
    found = quality(*pairs, *pairs)
    assert found["nn10"] == 1
    assert 0 < found["r1"] <= found["mrr"] <= found["r10"] < 1


def test_a_rotation_of_the_reduced_space_keeps_everything(pairs: tuple[Tensor, Tensor]) -> None:
    torch.manual_seed(0)
    rotation = torch.linalg.qr(torch.randn(384, 384)).Q
    # Neighbours 10 and 11 may swap where their cosines differ by float32 rounding alone.
    assert quality(*pairs, *(3 * rows @ rotation for rows in pairs))["nn10"] > 0.998


def test_quality_refuses_queries_without_documents(pairs: tuple[Tensor, Tensor]) -> None:
    queries, docs = pairs
    with pytest.raises(ValueError, match="as many queries as documents"):
        quality(queries[:-1], docs, queries[:-1], docs)


def test_sampled_queries_are_distinct_and_fixed_by_the_seed() -> None:
    chosen = sampled_queries(5000)
    # The first of numpy's default_rng(0).choice, the sample behind every figure in the docs.
    assert (len(set(chosen.tolist())), chosen[:3].tolist()) == (2500, [4306, 4026, 4684])
    assert sampled_queries(40).sort().values.tolist() == list(range(40))
    assert sampled_queries(5000, seed=1).tolist() != chosen.tolist()


def test_kept_neighbours_leave_out_the_query_itself() -> None:
    full, reduced = at_angles(0, 10, 30, 60), at_angles(0, 60, 50, 10)
    kept = [
        kept_neighbours(full, full, reduced, reduced, k=1, own=torch.arange(4)).tolist(),
        kept_neighbours(full, full, reduced, reduced, k=1).tolist(),
    ]
    assert kept == [[0, 0, 1, 0], [1, 1, 1, 1]]  # with itself among them, each finds itself


def test_rank_agreement_follows_the_order_of_cosines_and_not_their_size() -> None:
    query = at_angles(0)
    order = [rank_agreement(query, FULL_DOCS, query, at_angles(*a)) for a in ORDERS]
    nearby = [local_rank_agreement(query, FULL_DOCS, query, at_angles(*a)) for a in ORDERS]
    assert order == pytest.approx([1, -1, 0], abs=1e-9)
    assert nearby == pytest.approx([1, -1, 0], abs=1e-9)


# The same order, the other way round, and all in one point.
ORDERS = [(1, 2, 50, 90), (90, 50, 2, 1), (7, 7, 7, 7)]


def test_rank_agreement_gives_equal_cosines_their_mean_rank() -> None:
    tied = local_rank_agreement(FULL_QUERY, FULL_DOCS, FULL_QUERY, at_angles(5, 5, 50, 60))
    # Ranks 1 2 3 4 against 1.5 1.5 3 4: covariance 4.5 over the root of 5 times 4.5.
    assert tied == pytest.approx(4.5 / math.sqrt(5 * 4.5))


def test_local_rank_agreement_looks_at_the_nearest_alone() -> None:
    far_swapped = at_angles(1, 2, 40, 30)
    found = [
        local_rank_agreement(FULL_QUERY, FULL_DOCS, FULL_QUERY, far_swapped, k=k) for k in (2, 4)
    ]
    assert found == pytest.approx([1, 0.8])


def test_captured_energy_is_what_the_row_space_holds_of_what_it_could() -> None:
    moment = torch.diag(torch.tensor([4.0, 3.0, 2.0, 1.0]))
    rows = torch.eye(4)
    mixed = torch.stack([5 * rows[0] + rows[1], rows[0] - rows[1]])
    spaces = [mixed, rows[2:], torch.stack([rows[1], 3 * rows[1]])]
    found = [captured_energy(weight, moment) for weight in spaces]
    assert found == pytest.approx([1, 3 / 7, 3 / 4])


def test_an_interval_holds_the_mean_it_is_about() -> None:
    random = np.random.default_rng(0)
    whole = random.beta(2, 1, size=100_000).astype(np.float32)
    samples = [torch.from_numpy(random.choice(whole, 200)) for _ in range(400)]
    held = [low <= whole.mean() <= high for low, high in map(mean_interval, samples)]
    assert 0.92 < sum(held) / len(held) < 0.98


@pytest.mark.parametrize(("share", "low", "high"), [(0.0, 0, 0.0370), (1.0, 0.9630, 1)])
def test_an_interval_is_no_point_where_all_shares_agree(
    share: float, low: float, high: float
) -> None:
    assert mean_interval(torch.full((100,), share)) == pytest.approx((low, high), abs=1e-4)
