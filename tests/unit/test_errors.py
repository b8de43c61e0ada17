"""What a refusal prints as, for whoever sees no more than that."""

from __future__ import annotations

import pytest

from app.errors import ConfigInvalid, NotFound


@pytest.mark.parametrize(
    ("detail", "pointer", "printed"),
    [
        ("expected a number, got 'a'", "/layers/0/p", "/layers/0/p: expected a number, got 'a'"),
        ("/layers/0/p: expected a number", "/layers/0/p", "/layers/0/p: expected a number"),
    ],
)
def test_a_refusal_prints_where_the_fault_is_once(detail: str, pointer: str, printed: str) -> None:
    assert str(ConfigInvalid(detail, pointer=pointer)) == printed


def test_a_refusal_of_no_field_prints_its_sentence() -> None:
    error = NotFound("model_not_found", "there is no model 'a'")
    assert str(error) == "there is no model 'a'"
