"""Every registered layer, initialiser and parametrization passes the shared battery."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from app.config import ModelConfig
from app.layers import INITIALISERS, PARAMETRIZATIONS, build
from tests.checks import layers as checks


def constrained(name: str) -> dict[str, object]:
    return {"type": name, **checks.CONSTRAINED.get(name, {})}


DECLARED = [
    checks.declare(bias=bias, parametrization=constrained(name))
    for name in PARAMETRIZATIONS
    for bias in (False, True)
]
each_declared = pytest.mark.parametrize(
    "config", DECLARED, ids=lambda config: str(config.layers[0].arguments)
)


def made(config: ModelConfig, seed: int = 0) -> nn.Module:
    return build(config, generator=torch.Generator().manual_seed(seed))


def test_registries_hold_what_is_documented() -> None:
    assert list(PARAMETRIZATIONS) == [
        "low_rank",
        "none",
        "orthogonal",
        "qr",
        "sparse",
        "unit_norm",
    ]
    assert list(INITIALISERS) == [
        "constant",
        "dirac",
        "eye",
        "kaiming_normal",
        "kaiming_uniform",
        "normal",
        "ones",
        "orthogonal",
        "sparse",
        "trunc_normal",
        "uniform",
        "xavier_normal",
        "xavier_uniform",
        "zeros",
    ]


@pytest.mark.parametrize("member", [*INITIALISERS.values(), *PARAMETRIZATIONS.values()])
def test_member_has_a_docstring(member: object) -> None:
    checks.check_docstring(member)


@each_declared
def test_batch_equals_single(config: ModelConfig) -> None:
    checks.check_batch_equals_single(made(config))


@each_declared
def test_any_leading_dimensions(config: ModelConfig) -> None:
    checks.check_any_leading_dimensions(made(config))


@each_declared
def test_input_is_not_modified(config: ModelConfig) -> None:
    checks.check_input_not_modified(made(config))


@each_declared
def test_seed_fixes_the_weights(config: ModelConfig) -> None:
    checks.check_deterministic_under_seed(lambda generator: build(config, generator=generator))


@each_declared
def test_saved_state_gives_the_same_bits(config: ModelConfig) -> None:
    checks.check_save_and_load(made(config, seed=0), made(config, seed=1))


@each_declared
def test_gradient_equals_finite_differences(config: ModelConfig) -> None:
    checks.check_gradient_equals_finite_differences(made(config))


@each_declared
def test_folded_equals_forward(config: ModelConfig) -> None:
    checks.check_folded_equals_forward(config, made(config))


@each_declared
def test_folded_owns_its_storage(config: ModelConfig) -> None:
    checks.check_folded_owns_its_storage(made(config))


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("n_components", [2, 3, checks.INPUT_SIZE])
@pytest.mark.parametrize("name", PARAMETRIZATIONS)
def test_retraction_does_not_hide_what_is_not_finite(
    name: str, n_components: int, value: float
) -> None:
    config = checks.declare(n_components=n_components, parametrization=constrained(name))
    checks.check_not_finite_stays_visible(partial(made, config), value)


@pytest.mark.parametrize("name", PARAMETRIZATIONS)
def test_retraction_is_a_function_of_the_weight(name: str) -> None:
    config = checks.declare(parametrization=constrained(name))
    checks.check_retraction_is_a_function(partial(made, config))


SHAPES = [(1, 7), (3, 7), (7, 7), (9, 7), (5,), (4, 3, 2), (2, 3, 3, 2, 2)]


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        (name, shape)
        for name, member in INITIALISERS.items()
        for shape in SHAPES
        if len(shape) in member.dimensions
    ],
)
def test_initialiser(name: str, shape: tuple[int, ...]) -> None:
    checks.check_initialiser(name, shape)
