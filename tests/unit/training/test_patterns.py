"""Patterns of parameter names."""

from __future__ import annotations

import pytest

from app.errors import ConfigInvalid
from app.training.patterns import compile_pattern

_NAME = "a" * 64 + "_.weight"


@pytest.mark.parametrize(
    "pattern", ["bias$", r"^0\.", ".*weight", "(weight|bias)$", r"\d+\.[a-z]*", "(0)?w", "a{2}"]
)
def test_what_names_parameters_is_a_pattern(pattern: str) -> None:
    assert compile_pattern(pattern, pointer="/match").pattern == pattern


@pytest.mark.parametrize(
    ("pattern", "fault"),
    [
        ("(a+)+$", "a repeated group"),
        ("(a|aa){2,}$", "a repeated group"),
        ("(?:a*)*$", "a repeated group"),
        (r"(a)\1$", "references"),
        ("(?P<x>a)(?P=x)$", "references"),
        ("a*a*a*a*$", "at most 3"),
        ("a" * 257, "at most 256"),
        ("(", "expected a regular expression"),
    ],
)
def test_what_could_search_for_ever_is_no_pattern(pattern: str, fault: str) -> None:
    with pytest.raises(ConfigInvalid, match=fault) as refusal:
        compile_pattern(pattern, pointer="/optimizer/groups/0/match")
    assert refusal.value.pointer == "/optimizer/groups/0/match"


def test_what_is_accepted_ends_on_a_name_that_nearly_matches() -> None:
    assert not compile_pattern("a*a*a*$", pointer="/match").fullmatch(_NAME)
