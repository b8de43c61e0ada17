"""Rows 31 to 109 of the bad-input catalogue, over HTTP; after each, nothing has changed."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import numpy as np
import pytest

from tests.conftest import MODELS, ServerFactory
from tests.problem import assert_canonical
from tests.security.catalogue import ROWS, Request, Row
from tests.security.postcondition import assert_product, nothing_remains
from tests.server import RunningServer, create, declare

# The contract's own words, which a message may of course use.
_OUR_WORDS = frozenset(
    {"data", "dtype", "float16", "float32", "float64", "hidden_states", "init", "input_size"}
    | {"layers", "loss", "n_components", "null", "parametrization", "seed", "shape", "targets"}
    | {"labels", "reduce", "true", "type", "data_offsets", "Q_reduced", "weight", "bias"}
)


@pytest.fixture(scope="module", autouse=True)
def _scratch(server: RunningServer) -> Iterator[None]:
    """The model of steps that are accepted."""
    create(server, "scratch", declare(8, 3))
    yield
    server.http.delete("/models/scratch")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.number}-{row.name}")
def test_bad_input_is_answered_as_the_catalogue_says(
    server: RunningServer, row: Row, caplog: pytest.LogCaptureFixture
) -> None:
    content = row.request.content()
    with nothing_remains(server, caplog):
        answer = _send(server, row.request, content)
    if row.status == 200:
        _assert_accepted(server, row, answer)
    else:
        assert_canonical(answer, row.status, row.code, detail=row.detail)
        _assert_no_echo(answer, row.request.path, content)


def test_row_67_finite_input_beyond_float16_is_refused_where_the_server_multiplies_in_it(
    start_server: ServerFactory,
) -> None:
    server = start_server(dtype="float16")
    create(server, "small", MODELS["small"])
    answer = server.http.post("/reduce", json={"hidden_states": [[70_000.0] * 8]})
    assert_canonical(answer, 422, "out_of_range")


def _send(server: RunningServer, request: Request, content: bytes) -> httpx.Response:
    headers = {"accept": request.accept, **request.headers}
    if request.content_type is not None:
        headers["content-type"] = request.content_type
    return server.http.request(request.method, request.path, headers=headers, content=content)


def _assert_accepted(server: RunningServer, row: Row, answer: httpx.Response) -> None:
    assert answer.status_code == 200, answer.text
    if row.meaning is None:
        assert np.isfinite(answer.json()["loss"])
    else:
        assert_product(server, row.meaning, answer)


def _assert_no_echo(answer: httpx.Response, path: str, content: bytes) -> None:
    """No word, number or escape of the request stands in the refusal, but our own words.

    Sizes (whole numbers of up to seven digits) may: a message says how many rows it got.
    """
    sent = path.partition("?")[2] + content[:65_536].decode("latin-1")
    tokens = set(re.findall(r"[\w+.-]{4,}", sent, re.ASCII)) - _OUR_WORDS
    tokens = {token for token in tokens if not re.fullmatch(r"\d{1,7}", token)}
    echoed = {token for token in tokens if token in answer.text}
    assert not echoed
