from __future__ import annotations

import pytest
import torch

from app.training.observed import HeldOut, Reservoir

STREAM = torch.arange(1000.0)[:, None]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("batch", [1, 7, 64, 1000])
def test_a_window_holds_the_newest(batch: int) -> None:
    window = Reservoir.empty(50, 1)
    for rows in torch.split(STREAM, batch):
        window = window.newest(rows)
    assert sorted(window.rows.tensor()[:, 0].tolist()) == [*range(950, 1000)]
    assert (window.count, window.offered) == (50, 1000)


def test_a_sample_holds_everything_while_there_is_room() -> None:
    sample = Reservoir.empty(1000, 1).sampled(STREAM, seeded(0))
    assert torch.equal(sample.rows.tensor(), STREAM)


def test_a_sample_is_a_fair_one() -> None:
    kept = torch.zeros(1000)
    for seed in range(300):
        sample, generator = Reservoir.empty(100, 1), seeded(seed)
        for rows in torch.split(STREAM, 64):
            sample = sample.sampled(rows, generator)
        kept[sample.rows.tensor()[:, 0].long()] += 1
    tenths = kept.reshape(10, 100).mean(dim=1)
    # Each is kept with probability 0.1: 30 of 300, the mean of a hundred within 0.5 (sigma).
    assert kept.sum() == 300 * 100
    assert ((tenths - 30).abs() < 2.5).all()


def test_a_sample_depends_on_its_generator_alone() -> None:
    torch.manual_seed(1)
    first = Reservoir.empty(10, 1).sampled(STREAM, seeded(3))
    torch.manual_seed(2)
    second = Reservoir.empty(10, 1).sampled(STREAM, seeded(3))
    assert torch.equal(first.rows.tensor(), second.rows.tensor())


def test_what_was_offered_before_is_as_it_was() -> None:
    before = Reservoir.empty(10, 1).sampled(STREAM[:500], seeded(0))
    wanted = before.rows.tensor()
    before.sampled(STREAM[500:], seeded(1))
    before.newest(STREAM[500:])
    assert torch.equal(before.rows.tensor(), wanted)


def test_held_out_pairs_are_those_that_came_with_a_positive() -> None:
    held_out = HeldOut.empty(6, 1).extended(STREAM[1:3], None)
    held_out = held_out.extended(STREAM[3:6], STREAM[103:106]).extended(STREAM[6:7], None)
    vectors, positives = held_out.pairs()
    assert (vectors[:, 0].tolist(), positives[:, 0].tolist()) == ([3, 4, 5], [103, 104, 105])
    assert held_out.count == 6


def test_held_out_vectors_are_the_newest_with_their_positives() -> None:
    held_out = HeldOut.empty(4, 1)
    for first in range(1, 19, 3):
        held_out = held_out.extended(STREAM[first : first + 3], 100 + STREAM[first : first + 3])
    vectors, positives = held_out.pairs()
    assert sorted(vectors[:, 0].tolist()) == [15, 16, 17, 18]
    assert torch.equal(positives, 100 + vectors)


def test_nothing_is_kept_for_positives_that_never_came() -> None:
    held_out = HeldOut.empty(4, 1).extended(STREAM[1:9], None)
    assert held_out.positives.count == 0
    assert [len(side) for side in held_out.pairs()] == [0, 0]
