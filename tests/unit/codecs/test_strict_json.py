from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.codecs import parse_object
from app.errors import SlimvecError

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
)
values = st.recursive(
    scalars | st.text('ab"\\é\n', max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab"), inner, max_size=3),
    max_leaves=8,
)


def depth(value: object) -> int:
    children = (
        value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    )
    return isinstance(value, (dict, list)) + max(map(depth, children), default=0)


@given(st.dictionaries(st.text("ab"), values, max_size=4))
def test_reads_an_object_as_the_standard_library_does(document: dict[str, object]) -> None:
    if depth(document) <= 10:
        assert parse_object(json.dumps(document).encode()) == document


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "empty_body"),
        (b"{", "malformed_json"),
        (b'{"a":NaN}', "malformed_json"),
        (b'\xef\xbb\xbf{"a":1}', "malformed_json"),
        (b'{"a":"\\ud800"}', "malformed_json"),
        (b'{"a":' + b"[" * 10 + b"]" * 10 + b"}", "malformed_json"),
        (b'{"a":' + b"[" * 1000 + b"]" * 1000 + b"}", "malformed_json"),
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "malformed_json"),
        (b'{"a":1,"a":1}', "duplicate_key"),
        (b'{"a":[{"b":1,"\\u0062":1}]}', "duplicate_key"),
        (b"[]", "wrong_type"),
        (b"1", "wrong_type"),
        (b'{"a":1e999}', "non_finite_input"),
        (b'{"a":' + b"9" * 400 + b"}", "out_of_range"),
        (b'{"a":' + b"9" * 5000 + b"}", "out_of_range"),
        (b'{"\\ud800":1}', "unknown_field"),
        (b'{"a":"' + b"x" * (1 << 20) + b'"}', "body_too_large"),
    ],
)
def test_refuses_what_readers_disagree_about(body: bytes, code: str) -> None:
    with pytest.raises(SlimvecError) as refused:
        parse_object(body)
    assert refused.value.code == code


def test_reads_ten_levels() -> None:
    assert parse_object(b'{"a":' + b"[" * 9 + b"]" * 9 + b"}") == {"a": [[[[[[[[[]]]]]]]]]}


@given(st.binary(max_size=40) | st.text('{}[]":,0e+-. \\u\x00tfn', max_size=20).map(str.encode))
def test_no_other_error_escapes(noise: bytes) -> None:
    try:
        parse_object(b'{"a":' + noise)
    except SlimvecError as error:
        assert error.code  # noqa: PT017 - either outcome is fine, another error is not
