"""POST /reduce: formats in and out, dimensions, stamps, options."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from tests.contract.wire import (
    JSON,
    NPY,
    SAFETENSORS,
    as_base64,
    as_npy,
    encode,
    reduced_of,
    some_rows,
    weights,
)
from tests.server import RunningServer

_FORMS = ("nested", "base64", NPY, SAFETENSORS)
# float32 sums in another order: a few units in the last place of values around 1.
_ROUNDING = 5e-6


@pytest.mark.parametrize(
    "shape", [(8,), (1, 8), (5, 8), (2, 3, 8), (1, 1, 1, 1, 1, 1, 2, 8)], ids=str
)
@pytest.mark.parametrize("accept", [None, JSON, NPY, SAFETENSORS])
@pytest.mark.parametrize("form", _FORMS)
def test_reduced_is_the_product_with_the_weights_in_every_format(
    server: RunningServer, form: str, accept: str | None, shape: tuple[int, ...]
) -> None:
    hidden_states = some_rows(*shape)
    request = encode(hidden_states, form)
    if accept is not None:
        request["headers"] = {**request.get("headers", {}), "accept": accept}
    answer = server.http.post("/models/small/reduce", **request)
    reduced = reduced_of(answer)
    in_kind = form if form in (NPY, SAFETENSORS) else JSON
    assert answer.headers["content-type"] == (accept or in_kind)
    assert (reduced.dtype.name, reduced.shape) == ("float32", (*shape[:-1], 3))
    np.testing.assert_allclose(
        reduced, hidden_states @ weights(server, "small").T, rtol=0, atol=_ROUNDING
    )


@pytest.mark.parametrize("rows", [1, 2, 3, 7])
def test_every_format_gives_the_same_bits(server: RunningServer, rows: int) -> None:
    hidden_states = some_rows(rows, 384)
    first, *others = (
        reduced_of(server.http.post("/models/wide/reduce", **encode(hidden_states, form)))
        for form in _FORMS
    )
    # The sums' order depends on where in memory the values are; formats put them elsewhere.
    for other in others:
        np.testing.assert_array_equal(other, first)


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("*/*", NPY),
        ("application/*", NPY),
        (f"{JSON};q=0.5, {SAFETENSORS}", SAFETENSORS),
        (f"text/html, {JSON};q=0.1", JSON),
        (f"{SAFETENSORS};q=0, */*", NPY),
        ("Application/JSON", JSON),
    ],
)
def test_accept_chooses_by_quality_and_any_means_in_kind(
    server: RunningServer, accept: str, media_type: str
) -> None:
    headers = {"content-type": NPY, "accept": accept}
    answer = server.http.post("/reduce", headers=headers, content=as_npy(some_rows(2, 8)))
    assert answer.headers["content-type"] == media_type
    assert reduced_of(answer).shape == (2, 3)


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
@pytest.mark.parametrize("form", ["base64", NPY, SAFETENSORS])
def test_narrow_and_wide_floats_are_read_as_the_float32_they_mean(
    server: RunningServer, form: str, dtype: str
) -> None:
    given = some_rows(4, 8).astype(dtype)
    narrowed = given.astype(np.float32)
    assert (
        reduced_of(server.http.post("/reduce", **encode(given, form))).tobytes()
        == reduced_of(server.http.post("/reduce", **encode(narrowed, "base64"))).tobytes()
    )


def test_bfloat16_is_read_as_the_upper_half_of_a_float32(server: RunningServer) -> None:
    bits = some_rows(2, 8).view(np.uint32) & 0xFFFF0000
    body = {**as_base64((bits >> 16).astype("<u2")), "dtype": "bfloat16"}
    answer = server.http.post("/reduce", json={"hidden_states": body})
    exact = server.http.post("/reduce", **encode(bits.view(np.float32), "base64"))
    assert answer.json()["reduced"] == exact.json()["reduced"]


@pytest.mark.parametrize("path", ["/reduce", "/models/small/reduce"])
def test_the_stamps_in_body_and_headers_are_equal(server: RunningServer, path: str) -> None:
    answer = server.http.post(path, **encode(some_rows(8), "nested"))
    body, headers = answer.json(), answer.headers
    described = server.http.get("/models/small").json()
    assert body.keys() == {"reduced", "shape", "model", "version", "digest"}
    assert [body[k] for k in ("model", "version", "digest")] == ["small", 1, described["digest"]]
    assert [headers["model-name"], headers["model-version"], headers["model-digest"]] == [
        "small",
        "1",
        described["digest"],
    ]
    assert headers["request-id"]
    assert headers["server-timing"].startswith("total;dur=")


def test_a_safetensors_answer_carries_its_stamp_in_the_metadata(
    server: RunningServer, tmp_path: Path
) -> None:
    answer = server.http.post("/reduce", **encode(some_rows(2, 8), SAFETENSORS))
    file = tmp_path / "answer.safetensors"
    file.write_bytes(answer.content)
    with safe_open(file, "np") as opened:
        stamp = opened.metadata()
    keys = {"model": "name", "version": "version", "digest": "digest"}
    assert stamp == {name: answer.headers[f"model-{header}"] for name, header in keys.items()}
