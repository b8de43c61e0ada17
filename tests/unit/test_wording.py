from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import pointer_token
from app.wording import either, nearest, number, offered, some

_LONGEST = 46  # forty characters, quotation marks, and what says that it was cut


OFFERED: list[tuple[object, str]] = [
    ("qr", "'qr'"),
    ("", "''"),
    ("it's", '"it\'s"'),
    ("x" * 10**6, f"'{'x' * 40}…'"),
    ("a\nb\r\t", r"'a\nb\r\t'"),
    ("\x1b[31mred", r"'\x1b[31mred'"),
    ("\u202egnp.exe", r"'\u202egnp.exe'"),
    ("\ud800", r"'\ud800'"),
    ("\x00" * 40, rf"'{chr(92)}x00" + rf"{chr(92)}x00" * 9 + "…'"),
    ("größer", "'größer'"),
    (True, "true"),
    (False, "false"),
    (None, "null"),
    (-3, "-3"),
    (2**63, str(2**63)),
    (10**400, "an integer of about 401 digits"),
    (-(10**5000), "an integer of about 5001 digits"),
    (0.1, "0.1"),
    (math.nan, "nan"),
    (-math.inf, "-inf"),
    ([], "an array of 0 entries"),
    (["SECRET"], "an array of 1 entry"),
    ((1, 2), "an array of 2 entries"),
    ({"SECRET": {"SECRET": 1}}, "an object"),
    (b"SECRET", "a value of another kind"),
]


@pytest.mark.parametrize(("value", "told"), OFFERED, ids=[told for _, told in OFFERED])
def test_a_value_is_told_short_and_harmless(value: object, told: str) -> None:
    assert offered(value) == told


_ANY: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(_ANY)
def test_whatever_is_offered_is_one_printable_line_of_bounded_length(value: object) -> None:
    told = offered(value)
    assert told.isprintable()
    assert 0 < len(told) <= _LONGEST
    told.encode()


@given(st.text(st.characters()))
def test_a_step_of_a_pointer_is_printable_and_bounded(name: str) -> None:
    token = pointer_token(name)
    assert token.isprintable()
    assert "/" not in token
    token.encode()


def test_names_are_told_nearest_first_and_all_of_them() -> None:
    assert nearest(["loss", "observed", "observe", "seed"], "observ")[:2] == ["observe", "observed"]
    assert sorted(nearest("cab", "x" * 10**6)) == ["a", "b", "c"]


def test_choices_are_told_once_each() -> None:
    assert either(["a", "b", "a", "c"]) == "a, b or c"
    assert either(["a"]) == "a"


def test_the_first_few_names_stand_for_many() -> None:
    assert some(["a", "b", "c"], most=2) == "a, b and 1 more"
    assert some([]) == "none"


def test_bounds_are_told_in_few_characters() -> None:
    assert [number(bound) for bound in (65_536, 1e30, 0.5, 1.0)] == ["65536", "1e+30", "0.5", "1"]
