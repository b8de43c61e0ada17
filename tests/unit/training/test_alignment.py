"""Two versions compared and turned into each other's space, against plain loops."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from app.training.alignment import cross, rotation_of_rows, rotation_of_weights
from app.training.observed import ObservedState
from app.training.observed.unit_vectors import UnitVectors
from app.training.remembered import Remembered
from tests.checks.neighbours import kept_by_hand, neighbours_by_hand

WIDTH, K, VECTORS = 12, 4, 90


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def orthogonal(seed: int) -> Tensor:
    found: Tensor = torch.linalg.qr(draw(seed, K, K)).Q
    return found


@pytest.fixture(scope="module")
def remembered() -> Remembered:
    rows = draw(7, VECTORS, WIDTH) * torch.linspace(3, 0.3, WIDTH)
    empty = ObservedState.empty(WIDTH, reservoir=256, held_out=32)
    observed = empty.extended(UnitVectors.of(rows, None), None)
    found = Remembered.of(observed, torch.device("cpu"))
    assert found is not None
    return found


OLD = torch.linalg.qr(draw(1, WIDTH, K)).Q.mT
NEW = OLD + 0.3 * draw(2, K, WIDTH)


def turned(rows: Tensor, rotation: Tensor) -> Tensor:
    return rows @ rotation.float()


def test_moments_and_rows_are_two_ways_to_one_map(remembered: Remembered) -> None:
    """The rows' lengths weigh in the one and not in the other."""
    by_moments, source = rotation_of_weights(NEW, OLD, remembered)
    x = remembered.vectors
    by_rows, other_source = rotation_of_rows(x @ NEW.mT, x @ OLD.mT)
    assert (source, other_source) == ("moments", "reservoir")
    torch.testing.assert_close(by_moments, by_rows, rtol=0, atol=0.1)


@pytest.mark.parametrize("seed", range(5))
def test_no_other_rotation_comes_nearer(remembered: Remembered, seed: int) -> None:
    x, other = remembered.vectors, orthogonal(seed)
    best, _ = rotation_of_weights(NEW, OLD, remembered)
    for near in (other, torch.linalg.qr(best.float() + 0.05 * other).Q):
        distances = [(turned(x @ NEW.mT, r) - x @ OLD.mT).square().sum() for r in (best, near)]
        assert distances[0] < distances[1]


@pytest.mark.parametrize("seed", range(3))
def test_a_rotation_is_found_exactly_and_brings_everything_back(
    remembered: Remembered, seed: int
) -> None:
    rotation, x = orthogonal(seed), remembered.vectors
    rotated = x @ OLD.mT @ rotation
    found, _ = rotation_of_weights(rotation.mT @ OLD, OLD, remembered)
    torch.testing.assert_close(found.float(), rotation.mT, rtol=0, atol=1e-5)
    torch.testing.assert_close(rotation_of_rows(rotated, x @ OLD.mT)[0], found, rtol=0, atol=1e-5)
    back = cross(turned(rotated, found), x @ OLD.mT, remembered)
    assert back.cosine == pytest.approx(1, abs=1e-6)
    assert back.nn10 == pytest.approx(kept_by_hand(x, OLD))


def test_the_map_is_orthogonal(remembered: Remembered) -> None:
    for found, _ in (
        rotation_of_weights(NEW, OLD, remembered),
        rotation_of_rows(draw(3, 9, K), draw(4, 9, K)),
        rotation_of_rows(torch.zeros(9, K), draw(4, 9, K)),  # of nothing, it is one all the same
    ):
        torch.testing.assert_close(found.mT @ found, torch.eye(K).double(), rtol=0, atol=1e-12)


def test_queries_of_one_version_are_looked_for_in_the_corpus_of_the_other(
    remembered: Remembered,
) -> None:
    x = remembered.vectors
    queries, corpus = x @ NEW.mT, x @ OLD.mT
    found = cross(queries, corpus, remembered)
    units = [rows / rows.norm(dim=1, keepdim=True) for rows in (queries, corpus)]
    cosines = (units[0] @ units[1].mT).fill_diagonal_(-2)
    lists = [set(row.argsort(descending=True)[:10].tolist()) for row in cosines]
    kept = [len(a & b) for a, b in zip(neighbours_by_hand(x), lists, strict=True)]
    assert found.nn10 == pytest.approx(sum(kept) / (10 * VECTORS))
    assert found.cosine == pytest.approx(float((units[0] * units[1]).sum(dim=1).mean()), abs=1e-6)
    assert cross(corpus, queries, remembered).nn10 != found.nn10
