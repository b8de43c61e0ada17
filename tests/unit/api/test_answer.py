from __future__ import annotations

import re

import pytest

from app.api.answer import Answer, Headers, Stamped

STAMPED = Stamped(Answer(b"four", {"content-type": "text/plain", "a": "é"}, 200), "id-1", 0.0015)


def test_both_forms_of_a_head_say_the_same() -> None:
    lines = b"".join(b"%b: %b\r\n" % pair for pair in STAMPED.pairs())
    assert STAMPED.lines() == lines


def test_a_head_says_length_id_and_time_and_what_browsers_must_not_do() -> None:
    headers = dict(STAMPED.pairs())
    assert headers[b"a"] == "é".encode("latin-1")
    assert headers[b"content-length"] == b"4"
    assert headers[b"request-id"] == b"id-1"
    assert headers[b"server-timing"] == b"total;dur=1.500"
    assert headers[b"x-content-type-options"] == b"nosniff"


def test_headers_are_a_mapping() -> None:
    assert dict(Headers({"a": "1", "b": "2"})) == {"a": "1", "b": "2"}


@pytest.mark.parametrize("name", ["A", "a b", "a:", "a\r\n", ""])
def test_a_name_that_is_no_header_is_never_written(name: str) -> None:
    with pytest.raises(AssertionError):
        Headers({name: "1"})


@pytest.mark.parametrize("value", ["1\r\nb: 2", "1\n", "\0", "\x7f"], ids=re.escape)
def test_a_value_that_would_end_its_line_is_never_written(value: str) -> None:
    with pytest.raises(AssertionError):
        Headers({"a": value})
