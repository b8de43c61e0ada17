"""POST /v2/models/{m}/infer: every form in and out, and everything that is refused."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.conftest import ModelFactory, ServerFactory
from tests.contract.inference_wire import (
    LENGTH,
    PLAIN,
    Inference,
    document_of,
    infer,
    inference,
    meant,
    reduced_of,
    refusal_of,
)
from tests.contract.wire import some_rows, weights
from tests.server import RunningServer, raw_request

ROWS = some_rows(5, 8)
COMPRESS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "deflate": zlib.compress}
BYTES: dict[str, Any] = {"parameters": {"binary_data_output": True}}
SMALL = inference(ROWS)


@pytest.mark.parametrize("output", [{}, BYTES], ids=["json", "binary"])
@pytest.mark.parametrize("encoding", ["", "gzip", "deflate"])
@pytest.mark.parametrize(
    ("datatype", "is_binary"),
    [
        ("FP32", True), ("FP32", False), ("FP64", True), ("FP64", False), ("FP16", True),
        ("BF16", True),
    ],
)  # fmt: skip
def test_every_form_in_gives_the_same_vectors_in_every_form_out(
    server: RunningServer, datatype: str, is_binary: bool, encoding: str, output: dict[str, Any]
) -> None:
    request, headers = inference(ROWS, datatype, is_binary=is_binary, **output), {}
    if encoding:
        request = Inference(COMPRESS[encoding](request.body), request.header_length)
        headers = {"content_encoding": encoding, "accept_encoding": encoding}
    answer = infer(server, request, **headers)
    assert answer.headers.get("content-encoding", "") == encoding
    native = server.http.post(
        "/models/small/reduce", json={"hidden_states": meant(ROWS, datatype).tolist()}
    )
    wanted = np.array(native.json()["reduced"], np.float32)
    assert reduced_of(answer).tobytes() == wanted.tobytes()
    is_octets = answer.headers["content-type"] == "application/octet-stream"
    assert is_octets is (LENGTH in answer.headers) is bool(output)


@pytest.mark.parametrize("shape", [(8,), (2, 3, 8)])
def test_leading_dimensions_are_kept(server: RunningServer, shape: tuple[int, ...]) -> None:
    reduced = reduced_of(infer(server, inference(some_rows(*shape))))
    assert reduced.shape == (*shape[:-1], 3)


@pytest.mark.parametrize("shape", [(0, 8), (2, 0, 8)])
@pytest.mark.parametrize("is_binary", [True, False])
@pytest.mark.parametrize("output", [{}, BYTES], ids=["json", "binary"])
def test_no_rows_give_no_rows(
    server: RunningServer, shape: tuple[int, ...], is_binary: bool, output: dict[str, Any]
) -> None:
    empty = np.empty(shape, np.float32)
    answer = infer(server, inference(empty, is_binary=is_binary, **output))
    assert reduced_of(answer).shape == (*shape[:-1], 3)
    assert LENGTH not in answer.headers
    assert answer.headers["content-type"] == "application/json"


def test_an_answer_is_stamped_and_echoes_the_id(server: RunningServer) -> None:
    answer = infer(server, inference(ROWS, id="no. 7", model_name="x", parameters={"custom": "y"}))
    found = document_of(answer)
    del found["outputs"]
    digest = answer.headers["model-digest"]
    assert found == {
        "model_name": "small",
        "model_version": "1",
        "id": "no. 7",
        "parameters": {"digest": digest},
    }
    assert (answer.headers["model-name"], answer.headers["model-version"]) == ("small", "1")


def test_the_raw_form_is_answered_in_bytes(server: RunningServer) -> None:
    answer = infer(server, Inference(ROWS.tobytes(), 0))
    np.testing.assert_allclose(
        reduced_of(answer), ROWS @ weights(server, "small").T, rtol=1e-5, atol=1e-6
    )
    assert LENGTH in answer.headers


@pytest.mark.parametrize("lead", range(0, 17, 4))
def test_a_large_tensor_gives_the_same_bits_wherever_it_begins(
    server: RunningServer, lead: int
) -> None:
    rows = some_rows(1000, 384)  # comes in many parts
    native = infer(server, inference(rows, id="x" * 16, **BYTES), "wide")
    shifted = infer(server, inference(rows, id="x" * lead, **BYTES), "wide")
    assert reduced_of(native).tobytes() == reduced_of(shifted).tobytes()


def test_a_large_tensor_in_json_gives_the_same_vectors(server: RunningServer) -> None:
    rows = some_rows(1000, 384)
    text = infer(server, inference(rows, is_binary=False), "wide")
    octets = infer(server, inference(rows, **BYTES), "wide")
    assert reduced_of(text).tobytes() == reduced_of(octets).tobytes()


def test_parameters_are_the_options_of_reduce(server: RunningServer) -> None:
    parameters = {"normalize": True, "dimensions": 2, "require_version": 1, "version": "live"}
    native = server.http.post(
        "/models/nested/reduce", json={"hidden_states": ROWS.tolist(), **parameters}
    )
    answer = infer(server, inference(ROWS, parameters=parameters), "nested")
    assert reduced_of(answer).tolist() == pytest.approx(np.array(native.json()["reduced"]))


@pytest.mark.parametrize("is_empty", [False, True])
def test_a_pinned_version_answers_for_ever(
    server: RunningServer, new_model: ModelFactory, is_empty: bool
) -> None:
    model, rows = new_model(), ROWS[:0] if is_empty else ROWS
    first = reduced_of(infer(server, inference(rows), model))
    server.http.post(f"/models/{model}/train-step", json={"hidden_states": ROWS.tolist()})
    pinned = infer(server, inference(rows), model, "1")
    by_name = infer(server, inference(rows, parameters={"version": 1}), model)
    assert reduced_of(pinned).tobytes() == reduced_of(by_name).tobytes() == first.tobytes()
    assert document_of(pinned)["model_version"] == "1"
    assert document_of(infer(server, inference(rows), model))["model_version"] == "2"
    assert document_of(infer(server, inference(rows), model, "2"))["model_version"] == "2"


def changed(**fields: Any) -> Inference:
    """The request with other fields of its tensor."""
    tensor = {"name": "hidden_states", "shape": [1, 8], "datatype": "FP32", "data": [0.5] * 8}
    return Inference(json.dumps({"inputs": [tensor | fields]}).encode(), None)


REFUSED: dict[str, tuple[Inference, int, str]] = {
    "no JSON": (Inference(b"{", None), 400, "malformed_json"),
    "no body": (Inference(b"", None), 400, "empty_body"),
    "a key twice": (Inference(b'{"id":"a","id":"b"}', None), 400, "duplicate_key"),
    "no inputs": (Inference(b"{}", None), 400, "missing_field"),
    "another input": (changed(name="x"), 400, "unknown_tensor"),
    "another output": (inference(ROWS, outputs=[{"name": "x"}]), 400, "unknown_tensor"),
    "another datatype": (changed(datatype="INT32"), 400, "unsupported_dtype"),
    "FP16 in JSON": (changed(datatype="FP16"), 400, "unsupported_dtype"),
    "another count": (changed(shape=[2, 8]), 400, "length_mismatch"),
    "another width": (inference(some_rows(1, 7)), 400, "shape_mismatch"),
    "no rows of another width": (inference(some_rows(0, 7)), 400, "shape_mismatch"),
    "not finite": (inference(ROWS * np.float32("nan")), 400, "non_finite_input"),
    "not finite in JSON": (Inference(b'{"a":NaN}', None), 400, "malformed_json"),
    "a dimension below zero": (changed(shape=[-1, 8]), 400, "wrong_type"),
    "too few bytes": (Inference(SMALL.body[:-1], SMALL.header_length), 400, "length_mismatch"),
    "too many bytes": (Inference(SMALL.body + b"x", SMALL.header_length), 400, "length_mismatch"),
    "no bytes left": (
        Inference(SMALL.body[: SMALL.header_length], None), 400, "length_mismatch"
    ),
    "half a raw row": (Inference(bytes(31), 0), 400, "length_mismatch"),
    "a JSON part beyond the body": (Inference(b"{}", 3), 400, "bad_inference_header"),
    "normalize that is no boolean": (
        inference(ROWS, parameters={"normalize": 1}), 400, "wrong_type"
    ),
    "dimensions of one that is not nested": (
        inference(ROWS, parameters={"dimensions": 1}), 400, "dimensions_unsupported"
    ),
    "a version that is gone": (
        inference(ROWS, parameters={"version": 9}), 404, "version_not_retained"
    ),
    "a version that does not answer": (
        inference(ROWS, parameters={"require_version": 2}), 412, "version_mismatch"
    ),
    "a classification": (
        inference(ROWS, outputs=[{"name": "reduced", "parameters": {"classification": 1}}]),
        501, "extension_not_offered",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_a_refusal_has_the_status_and_form_of_the_protocol(
    server: RunningServer, what: str
) -> None:
    request, status, code = REFUSED[what]
    answer = infer(server, request, accept_encoding="gzip, deflate")
    assert refusal_of(answer) == (status, code)


@pytest.mark.parametrize(
    ("model", "version", "status", "code"),
    [
        ("none", None, 404, "model_not_found"),
        ("small", "9", 404, "version_not_retained"),
        ("small", "live", 404, "version_not_found"),
        ("small", "1.0", 404, "version_not_found"),
        ("Small", None, 400, "model_name_invalid"),
    ],
)
def test_what_is_not_there_is_not_found(
    server: RunningServer, model: str, version: str | None, status: int, code: str
) -> None:
    assert refusal_of(infer(server, SMALL, model, version)) == (status, code)


def test_two_versions_are_one_too_many(server: RunningServer) -> None:
    request = inference(ROWS, parameters={"version": "live"})
    assert refusal_of(infer(server, request, version="1")) == (400, "out_of_range")


@pytest.mark.parametrize("length", ["-1", "1.0", "", "0x10", "9" * 19, "\uff11"])
def test_the_length_of_the_json_part_is_a_number(server: RunningServer, length: str) -> None:
    answer = raw_infer(server, (LENGTH, length.encode().decode("latin-1")))
    assert answer == (400, "bad_inference_header")


def test_the_length_of_the_json_part_is_told_once(server: RunningServer) -> None:
    assert raw_infer(server, (LENGTH, "2"), (LENGTH, "3")) == (400, "duplicate_header")


def raw_infer(server: RunningServer, *headers: tuple[str, str]) -> tuple[int, str]:
    answer = raw_request(
        server, "/v2/models/small/infer", method="POST", headers=headers, body=SMALL.body
    )
    return answer.status, json.loads(answer.body)["code"]


@pytest.mark.parametrize(
    ("encoding", "body", "status", "code"),
    [
        ("br", SMALL.body, 415, "unsupported_content_encoding"),
        ("gzip, gzip", gzip.compress(gzip.compress(SMALL.body)), 415,
         "unsupported_content_encoding"),
        ("gzip", SMALL.body, 400, "malformed_encoding"),
        ("gzip", gzip.compress(SMALL.body)[:-1], 400, "malformed_encoding"),
        ("deflate", gzip.compress(SMALL.body), 400, "malformed_encoding"),
    ],
)  # fmt: skip
def test_a_body_is_in_the_encoding_that_it_says(
    server: RunningServer, encoding: str, body: bytes, status: int, code: str
) -> None:
    request = Inference(body, SMALL.header_length)
    assert refusal_of(infer(server, request, content_encoding=encoding)) == (status, code)


@pytest.mark.parametrize("encoding", COMPRESS)
@pytest.mark.parametrize("header_length", [None, 10])
def test_a_bomb_is_refused_by_what_it_becomes(
    start_server: ServerFactory, encoding: str, header_length: int | None
) -> None:
    small = start_server(max_json_body_bytes=1 << 16, max_binary_body_bytes=1 << 17)
    small.http.put("/models/small", json={"input_size": 8, "layers": [
        {"type": "QRReduction", "n_components": 3}]}).raise_for_status()  # fmt: skip
    limit = (1 << 16) if header_length is None else (1 << 17)
    for num_bytes, wanted in ((limit, 400), (limit + 1, 413)):
        request = Inference(COMPRESS[encoding](bytes(num_bytes)), header_length)
        assert infer(small, request, content_encoding=encoding).status_code == wanted


@pytest.mark.parametrize("accepted", ["gzip;q=0", "br", "identity", "", "zstd, br"])
def test_nothing_is_compressed_unasked(server: RunningServer, accepted: str) -> None:
    answer = infer(server, SMALL, accept_encoding=accepted)
    assert "content-encoding" not in answer.headers
    assert reduced_of(answer).shape == (5, 3)


def test_a_list_of_encodings_compresses_text_and_leaves_bytes(server: RunningServer) -> None:
    """Libraries send such a list by themselves, and floats in binary hardly shrink."""
    text = infer(server, SMALL, accept_encoding="br;q=1, deflate;q=0.9, gzip")
    octets = infer(server, inference(ROWS, **BYTES), accept_encoding="gzip, deflate")
    assert text.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in octets.headers


def test_no_other_answer_is_compressed(server: RunningServer) -> None:
    for path in ("/v2", "/v2/models/small", "/v2/models/small/stats", "/v2/models/none"):
        answer = server.http.get(path, headers={"accept-encoding": "gzip"})
        assert "content-encoding" not in answer.headers


def test_the_other_verbs_take_no_compressed_body(server: RunningServer) -> None:
    answer = server.http.post(
        "/models/small/reduce", content=gzip.compress(b"{}"),
        headers={"content-encoding": "gzip", "content-type": "application/json"},
    )  # fmt: skip
    assert answer.status_code == 415


@pytest.mark.parametrize("media_type", ["", "application/json", "text/plain", "application/x-npy"])
def test_the_media_type_does_not_matter(server: RunningServer, media_type: str) -> None:
    headers = {"content_type": media_type} if media_type else {}
    assert reduced_of(infer(server, SMALL, **headers)).shape == (5, 3)


def test_a_model_that_was_unloaded_is_not_served(
    server: RunningServer, new_model: ModelFactory
) -> None:
    model = new_model()
    server.http.post(f"/v2/repository/models/{model}/unload").raise_for_status()
    answer = infer(server, SMALL, model)
    assert refusal_of(answer) == (503, "model_not_loaded")
    assert "retry-after" in answer.headers


def test_the_statistics_count_rows_runs_and_failures(
    server: RunningServer, new_model: ModelFactory
) -> None:
    model = new_model()
    for request in (SMALL, SMALL, inference(ROWS[:0]), changed(datatype="INT8")):
        infer(server, request, model)
    found = server.http.get(f"/v2/models/{model}/versions/1/stats", headers=PLAIN).json()
    (counted,) = found["model_stats"]
    times = counted["inference_stats"]
    assert (counted["inference_count"], counted["execution_count"]) == (10, 2)
    assert {name: time["count"] for name, time in times.items() if time["count"]} == {
        "success": 3, "fail": 1, "compute_input": 3, "compute_infer": 3, "compute_output": 3,
    }  # fmt: skip
    parts = ("compute_input", "compute_infer", "compute_output")
    assert times["success"]["ns"] == sum(times[name]["ns"] for name in parts) > 0
    assert counted["last_inference"] > 1.7e12
