"""Every kind of layer passes the shared battery."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from app.layers import KINDS
from tests.checks import kinds as checks
from tests.checks.layers import check_docstring

CHECKS = [
    checks.check_output_is_declared,
    checks.check_batch_equals_single,
    checks.check_input_not_modified,
    checks.check_deterministic_under_seed,
    checks.check_seed_matters,
    checks.check_leaves_the_global_generator,
    checks.check_save_and_load,
    checks.check_gradient_equals_finite_differences,
    checks.check_folded_equals_forward,
]


def test_every_kind_has_an_example() -> None:
    assert set(checks.EXAMPLES) == set(KINDS)


@pytest.mark.parametrize("name", KINDS)
def test_kind_has_a_docstring(name: str) -> None:
    check_docstring(KINDS[name])


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", KINDS)
def test_kind(name: str, check: Callable[[str], None]) -> None:
    check(name)


@pytest.mark.parametrize("name", [name for name in KINDS if checks.declared(name).uses_mask])
def test_mask_hides_what_does_not_count(name: str) -> None:
    checks.check_mask_hides_what_does_not_count(name)
