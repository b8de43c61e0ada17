from __future__ import annotations

from typing import Any

import pytest

from app.api.negotiation import choose_reader, choose_writer
from app.codecs import CODECS
from app.errors import NotAcceptable, UnsupportedMediaType

JSON = "application/json"
NPY = "application/x-npy"
SAFETENSORS = "application/x-safetensors"
ALL = frozenset(CODECS)


def scope(**headers: str) -> dict[str, Any]:
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"headers": pairs}


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("application/json", JSON),
        ("Application/JSON; charset=utf-8", JSON),
        ("application/x-npy", NPY),
        ("application/x-safetensors", SAFETENSORS),
        (f"application/json; charset={'x' * 300}", JSON),
    ],
)
def test_the_content_type_chooses_the_reader(content_type: str, expected: str) -> None:
    assert choose_reader(scope(content_type=content_type), ALL).media_type == expected


@pytest.mark.parametrize("headers", [{}, {"content_type": "text/plain"}, {"content_type": ""}])
def test_any_other_content_type_is_refused_with_the_allowed_ones(headers: dict[str, str]) -> None:
    with pytest.raises(UnsupportedMediaType, match=JSON):
        choose_reader(scope(**headers), ALL)


def test_a_route_may_read_less_than_there_are_codecs() -> None:
    with pytest.raises(UnsupportedMediaType):
        choose_reader(scope(content_type=NPY), frozenset({JSON}))


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("*/*", NPY),
        ("application/*", NPY),
        ("application/json", JSON),
        ("application/json, application/x-npy", JSON),
        ("application/json;q=0.5, application/x-npy", NPY),
        ("text/html, */*;q=0.1", NPY),
        ("application/x-safetensors", SAFETENSORS),
        (f"text/{'x' * 300}, application/json", JSON),
    ],
)
def test_accept_chooses_the_writer_and_otherwise_the_answer_is_in_kind(
    accept: str, expected: str
) -> None:
    assert choose_writer(scope(accept=accept), CODECS[NPY]).media_type == expected


@pytest.mark.parametrize("accept", ["text/html", "application/json;q=0", "application/json;q=x"])
def test_an_accept_that_nobody_writes_is_refused(accept: str) -> None:
    with pytest.raises(NotAcceptable):
        choose_writer(scope(accept=accept), CODECS[NPY])


def test_without_accept_the_answer_is_in_kind() -> None:
    assert choose_writer(scope(), CODECS[NPY]).media_type == NPY
