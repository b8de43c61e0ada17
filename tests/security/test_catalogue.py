"""Rows 31 to 72 of the bad-input catalogue, over HTTP; after each, nothing has changed."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file

from tests.conftest import MODELS, ServerFactory
from tests.problem import assert_canonical
from tests.security.catalogue import GOLDEN, ROWS, Request, Row
from tests.server import RunningServer, create, declare

# float32 sums in another order than numpy's float64: a few units in the last place of 8 terms,
# each of magnitude at most the largest input.
_ROUNDING = 1e-6

# The contract's own words, which a message may of course use.
_OUR_WORDS = frozenset(
    {"data", "dtype", "float16", "float32", "float64", "hidden_states", "init", "input_size"}
    | {"layers", "loss", "n_components", "null", "parametrization", "seed", "shape", "targets"}
    | {"reduce", "true", "type"}
)


@pytest.fixture(scope="module")
def before(server: RunningServer) -> Iterator[dict[str, Any]]:
    """The state that every row must leave; `scratch` is there for steps that are accepted."""
    create(server, "scratch", declare(8, 3))
    yield _state(server)
    server.http.delete("/models/scratch")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.number}-{row.name}")
def test_bad_input_is_answered_as_the_catalogue_says(
    server: RunningServer, before: dict[str, Any], row: Row, caplog: pytest.LogCaptureFixture
) -> None:
    content = row.request.content()
    answer = _send(server, row.request, content)
    if row.status == 200:
        _assert_accepted(server, row, answer)
    else:
        assert_canonical(answer, row.status, row.code, detail=row.detail)
        _assert_no_echo(answer, row.request.path, content)
    assert _state(server) == before
    _assert_golden(server)
    assert max((record.levelno for record in caplog.records), default=0) <= logging.WARNING


def test_every_row_of_the_catalogue_is_here() -> None:
    assert {row.number for row in ROWS} == set(range(31, 73))


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


def _state(server: RunningServer) -> dict[str, Any]:
    models = [model["model"] for model in server.http.get("/models").json()["models"]]
    states = {name: server.http.get(f"/models/{name}/state").json() for name in MODELS}
    return {"models": models, **states}


def _assert_accepted(server: RunningServer, row: Row, answer: httpx.Response) -> None:
    assert answer.status_code == 200, answer.text
    if row.meaning is None:
        assert np.isfinite(answer.json()["loss"])
    else:
        _assert_product(server, row.meaning, answer)


def _assert_golden(server: RunningServer) -> None:
    answer = server.http.post("/reduce", json={"hidden_states": GOLDEN.tolist()})
    assert answer.status_code == 200, answer.text
    _assert_product(server, GOLDEN, answer)


def _assert_product(
    server: RunningServer, hidden_states: NDArray[Any], answer: httpx.Response
) -> None:
    weights = load_file(server.models_dir / "small" / "1" / "model.safetensors")["Q_reduced"]
    expected = hidden_states.astype(np.float64) @ weights.T.astype(np.float64)
    reduced = np.array(answer.json()["reduced"])
    scale = max(1.0, float(np.abs(hidden_states).max()))
    np.testing.assert_allclose(reduced, expected, rtol=0, atol=_ROUNDING * 8 * scale)
    assert reduced.shape == expected.shape == tuple(answer.json()["shape"])


def _assert_no_echo(answer: httpx.Response, path: str, content: bytes) -> None:
    """No word, number or escape of the request stands in the refusal, but our own words.

    Sizes (whole numbers of up to seven digits) may: a message says how many rows it got.
    """
    sent = path.partition("?")[2] + content[:65_536].decode("latin-1")
    tokens = set(re.findall(r"[\w+.-]{4,}", sent, re.ASCII)) - _OUR_WORDS
    tokens = {token for token in tokens if not re.fullmatch(r"\d{1,7}", token)}
    echoed = {token for token in tokens if token in answer.text}
    assert not echoed
