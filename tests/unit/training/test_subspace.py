from __future__ import annotations

import torch

from app.training.subspace import captured_share, leading_basis, rotated_onto, signed_like


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def vectors(count: int, width: int = 8, seed: int = 0) -> torch.Tensor:
    scales = torch.arange(width, 0, -1, dtype=torch.float64)
    drawn = torch.randn(count, width, dtype=torch.float64, generator=seeded(seed))
    turned = torch.linalg.qr(torch.randn(width, width, dtype=torch.float64, generator=seeded(9))).Q
    rows: torch.Tensor = drawn * scales @ turned
    return rows


def orthonormal(k: int, width: int = 8, seed: int = 5) -> torch.Tensor:
    drawn = torch.randn(width, k, dtype=torch.float64, generator=seeded(seed))
    basis: torch.Tensor = torch.linalg.qr(drawn).Q.mT
    return basis


def moment(rows: torch.Tensor) -> torch.Tensor:
    return rows.mT @ rows / len(rows)


def assert_orthonormal(basis: torch.Tensor) -> None:
    torch.testing.assert_close(basis @ basis.mT, torch.eye(len(basis), dtype=torch.float64))


def test_the_leading_basis_captures_more_than_any_other() -> None:
    rows = vectors(500)
    basis = leading_basis(moment(rows), orthonormal(3))
    captured = captured_share(basis, rows)
    others = [captured_share(orthonormal(3, seed=seed), rows) for seed in range(50)]
    assert_orthonormal(basis)
    assert captured > max(others)


def test_too_few_vectors_leave_the_rest_of_the_old_basis() -> None:
    rows, old = vectors(2), orthonormal(5)
    basis = leading_basis(moment(rows), old)
    assert_orthonormal(basis)
    assert captured_share(basis, rows) > 1 - 1e-12
    # Five directions, two of them taken by the rows: three of the old ones' space stay.
    kept = torch.linalg.svdvals(basis @ old.mT)
    torch.testing.assert_close(kept[:3], torch.ones(3, dtype=torch.float64))


def test_without_any_vector_the_basis_spans_the_old_one() -> None:
    old = orthonormal(3)
    basis = leading_basis(torch.zeros(8, 8, dtype=torch.float64), old)
    torch.testing.assert_close(basis.mT @ basis, old.mT @ old)


def test_a_turned_basis_is_turned_back() -> None:
    rows, old = vectors(500), orthonormal(4)
    turned = orthonormal(4, width=4, seed=3) @ old
    torch.testing.assert_close(rotated_onto(turned, old, moment(rows)), old)


def test_no_other_rotation_is_nearer_to_the_map_before() -> None:
    rows = vectors(500)
    old, new = leading_basis(moment(rows[:60]), orthonormal(4)), orthonormal(4, seed=7)
    fixed = rotated_onto(new, old, moment(rows))

    def distance(basis: torch.Tensor) -> float:
        return float((rows @ (basis - old).mT).square().mean())

    others = [orthonormal(4, width=4, seed=seed) @ new for seed in range(200)]
    assert distance(fixed) < min(map(distance, others))


def test_signs_alone_are_changed_where_the_order_means_something() -> None:
    rows, old = vectors(500), orthonormal(3)
    flipped = old * torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64)[:, None]
    torch.testing.assert_close(signed_like(flipped, old, moment(rows)), old)


def test_the_share_does_not_depend_on_the_basis_of_a_space() -> None:
    rows, basis = vectors(100), orthonormal(3)
    skewed = torch.randn(3, 3, dtype=torch.float64, generator=seeded(2)) @ basis
    torch.testing.assert_close(captured_share(skewed, rows), captured_share(basis, rows))
