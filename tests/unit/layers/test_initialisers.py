from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from app.errors import ConfigInvalid
from app.layers import INITIALISERS, Draw, QRReduction, orthonormality_error


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(name: str, n_components: int, input_size: int, sample: Tensor | None = None) -> Tensor:
    draw = Draw(n_components=n_components, input_size=input_size, sample=sample, generator=seeded())
    return INITIALISERS[name](draw)


def test_normal_is_torch_randn() -> None:
    assert torch.equal(drawn("normal", 5, 9), torch.randn(5, 9, generator=seeded()))


def test_without_a_generator_the_global_seed_counts() -> None:
    torch.manual_seed(4)
    layer = QRReduction(5, 9, init="normal")
    torch.manual_seed(4)
    assert torch.equal(layer.Q_reduced, torch.randn(5, 9))


@pytest.mark.parametrize("name", ["kaiming_uniform", "xavier_uniform"])
def test_torch_initialisers_keep_their_meaning(name: str) -> None:
    expected = getattr(nn.init, f"{name}_")(torch.empty(5, 9), generator=seeded())
    assert torch.equal(drawn(name, 5, 9), expected)


@pytest.mark.parametrize(
    ("n_components", "input_size"), [(96, 384), (64, 64), (1, 5), (384, 96), (5, 1)]
)
def test_orthogonal_is_orthonormal_on_its_short_side(n_components: int, input_size: int) -> None:
    weight = QRReduction(n_components, input_size, generator=seeded()).Q_reduced.detach()
    short = weight if n_components <= input_size else weight.T
    # Float32 Householder products; measured up to 8e-7 at 1024 x 4096.
    torch.testing.assert_close(short @ short.T, torch.eye(len(short)), rtol=0, atol=1e-5)


def test_orthogonal_has_the_signs_of_its_gaussian() -> None:
    """R has a positive diagonal, so each row leans to the Gaussian row that it was made from."""
    gaussian = drawn("normal", 5, 9)
    assert ((drawn("orthogonal", 5, 9) * gaussian).sum(dim=1) > 0).all()


def test_pca_rows_are_the_leading_eigenvectors_of_the_uncentred_moment() -> None:
    scales = torch.tensor([1.0, 5.0, 0.1, 3.0])
    sample = torch.randn(4000, 4, generator=seeded()) * scales
    sample[:, 2] += 20
    weight = drawn("pca", 3, 4, sample)
    # A mean of 20 in one column outweighs the variance of the others; sampling noise is 0.03.
    torch.testing.assert_close(weight, torch.eye(4)[[2, 1, 3]], rtol=0, atol=0.05)
    assert orthonormality_error(weight) < 1e-6


def test_pca_captures_what_the_best_subspace_captures() -> None:
    sample = torch.randn(200, 8, generator=seeded()) * torch.logspace(0, -1, 8)
    projected = sample @ drawn("pca", 3, 8, sample).T
    best = torch.linalg.svdvals(sample)[:3].square().sum()
    torch.testing.assert_close(projected.square().sum(), best)


def test_pca_signs_do_not_depend_on_the_sample_signs() -> None:
    sample = torch.randn(50, 8, generator=seeded())
    weight = drawn("pca", 3, 8, sample)
    assert torch.equal(weight, drawn("pca", 3, 8, -sample))
    assert (weight.gather(1, weight.abs().argmax(dim=1, keepdim=True)) > 0).all()


@pytest.mark.parametrize(
    ("sample", "n_components", "got"),
    [
        (None, 3, "got none"),
        (torch.ones(2, 6), 3, r"got one of shape \[2, 6\]"),
        (torch.ones(9, 5), 3, r"got one of shape \[9, 5\]"),
        (torch.ones(6), 3, r"got one of shape \[6\]"),
        (torch.full((9, 6), torch.nan), 3, "got NaN or infinity"),
        (torch.ones(9, 6), 7, "n_components is 7"),
    ],
)
def test_pca_refuses_a_sample_that_does_not_fit(
    sample: Tensor | None, n_components: int, got: str
) -> None:
    with pytest.raises(ConfigInvalid, match=rf"\[at least {n_components}, 6\]; {got}"):
        drawn("pca", n_components, 6, sample)
