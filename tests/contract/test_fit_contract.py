"""POST /fit over the wire: one batch or a stream, all of it or nothing, durable and small."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from safetensors.numpy import save

from app.client import AsyncClient, Batch, Client
from app.errors import Unacceptable
from app.types import FitAnswer
from tests.conftest import MODELS, ModelFactory, ServerFactory
from tests.contract.wire import weights
from tests.problem import assert_canonical
from tests.server import RunningServer, create, declare, serving

NDJSON, FRAMES = "application/x-ndjson", "application/x-slimvec-frames"
SAFETENSORS = "application/x-safetensors"
ROWS = np.random.default_rng(5).standard_normal((60, 8)).astype(np.float32)
OTHERS = ROWS + np.float32(0.1)
PARTS = np.split(ROWS, [1, 2, 30])
BATCH = {"hidden_states": ROWS.tolist()}


def lines(*records: object) -> bytes:
    return b"".join(orjson.dumps(record) + b"\n" for record in records)


def frames(*parts: Any, **beside: Any) -> bytes:
    bodies = [save({"hidden_states": part, **beside}) for part in parts]
    return b"".join(struct.pack("<I", len(body)) + body for body in bodies)


BODIES = {
    "application/json": orjson.dumps(BATCH),
    SAFETENSORS: save({"hidden_states": ROWS}),
    NDJSON: lines(*({"hidden_states": part.tolist()} for part in PARTS)),
    FRAMES: frames(*PARTS),
}


def post(server: RunningServer, path: str, media_type: str, body: Any = None) -> Any:
    content = BODIES[media_type] if body is None else body
    return server.http.post(path, content=content, headers={"content-type": media_type})


def state_of(server: RunningServer, model: str) -> Any:
    return server.http.get(f"/models/{model}/state").json()


@pytest.mark.parametrize("path", ["/models/small", ""])
def test_a_fit_makes_the_leading_directions_a_new_version(
    start_server: ServerFactory, path: str
) -> None:
    server = start_server()
    create(server, "small", MODELS["small"])
    server.http.post("/train-step", json=BATCH).raise_for_status()
    answer = server.http.post(f"{path}/fit", json=BATCH).json()
    server.http.post("/models/small/versions").raise_for_status()
    directions = np.linalg.svd(ROWS.astype(np.float64))[2]
    assert (answer["kind"], answer["version"], answer["step"]) == ("fit", 3, 0)
    # Up to their signs; float32 of a float64 eigenvector.
    agreement = np.abs(weights(server, "small", 3) @ directions[:3].T)
    np.testing.assert_allclose(agreement, np.eye(3), atol=1e-5)


@pytest.mark.parametrize("media_type", BODIES)
def test_the_same_rows_in_any_form_make_the_same_directions(
    server: RunningServer, new_model: ModelFactory, media_type: str
) -> None:
    model = new_model(declare(8, 3))
    answer = post(server, f"/models/{model}/fit", media_type).json()
    server.http.post(f"/models/{model}/versions").raise_for_status()
    directions = np.linalg.svd(ROWS.astype(np.float64))[2]
    agreement = np.abs(weights(server, model, 2) @ directions[:3].T)
    np.testing.assert_allclose(agreement, np.eye(3), atol=1e-5)
    assert (answer["rows"], answer["rows_advised"]) == (60, 2048)


def test_the_answer_says_what_the_weights_were_made_from(
    server: RunningServer, new_model: ModelFactory
) -> None:
    answer = post(server, f"/models/{new_model(declare(8, 3))}/fit", FRAMES).json()
    energies = np.linalg.svd(ROWS.astype(np.float64), compute_uv=False) ** 2
    assert answer["explained_variance"] == pytest.approx(energies[:3].sum() / energies.sum())
    assert answer["warning"].startswith("made from 60 vectors, where 2048 are advised")


def test_a_method_takes_its_arguments_in_the_body_and_in_the_query(
    server: RunningServer, new_model: ModelFactory
) -> None:
    method = {"type": "pair_lda", "regularization": 2.0}
    one, other = (f"/models/{new_model(declare(8, 3))}/fit" for _ in range(2))
    body = {**BATCH, "positives": OTHERS.tolist(), "method": method}
    first = server.http.post(one, json=body).json()
    second = server.http.post(
        other,
        params={"method": orjson.dumps(method).decode()},
        content=frames(ROWS, positives=OTHERS),
        headers={"content-type": FRAMES},
    ).json()
    assert first["digest"] == second["digest"]
    assert first["rows"] == 120


def test_a_centred_fit_subtracts_the_mean(server: RunningServer, new_model: ModelFactory) -> None:
    path = f"/models/{new_model(declare(8, 3, layer={'bias': True}))}"
    method = {"type": "pca", "center": True}
    server.http.post(f"{path}/fit", json={**BATCH, "method": method}).raise_for_status()
    mean = {"hidden_states": ROWS.mean(axis=0).tolist()}
    reduced = server.http.post(f"{path}/reduce", json=mean).json()["reduced"]
    np.testing.assert_allclose(reduced, np.zeros(3), atol=1e-6)


REFUSED: dict[str, tuple[str, bytes, str, str, str]] = {
    "unknown method": ("application/json", orjson.dumps({**BATCH, "method": "lucky"}), "",
                       "config_invalid", "/method"),
    "no method": ("application/json", orjson.dumps({**BATCH, "method": 3}), "",
                  "config_invalid", "/method"),
    "no bias to centre by": (
        "application/json",
        orjson.dumps({**BATCH, "method": {"type": "pca", "center": True}}), "",
        "config_invalid", "/method/center"),
    "unknown field": ("application/json", orjson.dumps({**BATCH, "targets": [[1]]}), "",
                      "unknown_field", ""),
    "query of a JSON body": ("application/json", BODIES["application/json"], "?method=pca",
                             "unknown_field", ""),
    "narrower": ("application/json", b'{"hidden_states": [[1, 2]]}', "", "shape_mismatch",
                 "/hidden_states"),
    "no rows": ("application/json", b'{"hidden_states": []}', "", "empty_batch", "/hidden_states"),
    "no pairs": (SAFETENSORS, BODIES[SAFETENSORS], "?method=pair_lda", "missing_field",
                 "/positives"),
    "no records": (NDJSON, b"", "", "empty_batch", "/hidden_states"),
    "a narrower record": (NDJSON, lines(BATCH, {"hidden_states": [[1]]}, BATCH), "",
                          "shape_mismatch", "/hidden_states"),
    "a record with options": (NDJSON, lines(BATCH, {**BATCH, "method": "pca"}), "",
                              "unknown_field", ""),
    "a record of NaN": (FRAMES, frames(ROWS, ROWS * np.float32(np.nan)), "",
                        "non_finite_input", "/hidden_states/0/0"),
}  # fmt: skip


@pytest.mark.parametrize(("media_type", "body", "query", "code", "pointer"), REFUSED.values(),
                         ids=REFUSED)  # fmt: skip
def test_a_fit_that_cannot_be_changes_nothing(
    server: RunningServer, media_type: str, body: bytes, query: str, code: str, pointer: str
) -> None:
    before = state_of(server, "nested")
    answer = post(server, f"/models/nested/fit{query}", media_type, body)
    problem: Any = assert_canonical(answer, 422, code)
    assert [fault["pointer"] for fault in problem.get("errors", [])] == [pointer] * bool(pointer)
    assert state_of(server, "nested") == before


@pytest.mark.parametrize("number", [1, 2])
def test_a_refused_record_is_named(server: RunningServer, number: int) -> None:
    body = lines(*[BATCH] * (number - 1), {"hidden_states": [[1]]}, BATCH)
    problem: Any = assert_canonical(
        post(server, "/models/nested/fit", NDJSON, body), 422, "shape_mismatch"
    )
    assert problem["detail"].startswith(f"record {number}: ")


def test_a_broken_record_and_a_broken_frame_change_nothing(server: RunningServer) -> None:
    before = state_of(server, "nested")
    torn = post(server, "/models/nested/fit", FRAMES, BODIES[FRAMES][:-1])
    problem: Any = assert_canonical(torn, 400, "incomplete_frame")
    assert problem["detail"].startswith(f"record {len(PARTS)}: ")
    words = post(server, "/models/nested/fit", NDJSON, lines(BATCH) + b"what\n")
    assert_canonical(words, 400, "malformed_json")
    assert state_of(server, "nested") == before


def test_a_fit_of_many_rows_is_a_small_row_of_the_journal_and_survives_a_restart(
    start_server: ServerFactory, tmp_path: Path
) -> None:
    many = frames(*[np.repeat(ROWS, 100, axis=0)] * 20)  # 120,000 rows: 3.8 MB
    with serving(tmp_path) as first:
        create(first, "small", MODELS["small"])
        before = state_of(first, "small")["journal_bytes"]
        answer = post(first, "/fit", FRAMES, many).json()
        fitted = state_of(first, "small")
    assert answer["rows"] == 120_000
    assert fitted["journal_bytes"] - before < 500_000
    again = state_of(start_server(tmp_path), "small")
    assert again["state_digest"] == fitted["state_digest"]


def test_if_match_makes_a_fit_happen_once(server: RunningServer, new_model: ModelFactory) -> None:
    path = f"/models/{new_model(declare(8, 3))}/fit"
    codes = [
        server.http.post(path, json=BATCH, headers={"if-match": '"1"'}).status_code
        for _ in range(2)
    ]
    assert codes == [200, 412]


def test_the_client_fits_one_batch_or_many(server: RunningServer, new_model: ModelFactory) -> None:
    def parts() -> Iterator[Any]:
        yield from PARTS

    digests = set()
    for batches in (ROWS, Batch(hidden_states=ROWS), [ROWS], parts()):
        with Client(str(server.http.base_url), new_model(declare(8, 3))) as client:
            answer = client.fit(batches)
            assert (answer.version, answer.rows) == (2, 60)
            digests.add(answer.digest)
    assert len(digests) <= 2  # sums in another order


def test_the_client_raises_what_the_server_refuses(server: RunningServer) -> None:
    with Client(str(server.http.base_url), "nested") as client:
        with pytest.raises(Unacceptable, match="learns from pairs"):
            client.fit(ROWS, method={"type": "pair_lda"})
        with pytest.raises(Unacceptable, match="record 2"):
            client.fit([ROWS, ROWS[:, :2]])


def test_the_asynchronous_client_fits_what_an_iterator_gives(
    server: RunningServer, new_model: ModelFactory
) -> None:
    async def parts() -> Any:
        for part in PARTS:
            yield Batch(hidden_states=part, positives=part)

    async def fit() -> FitAnswer:
        async with AsyncClient(str(server.http.base_url), new_model(declare(8, 3))) as client:
            return await client.fit(parts(), method="pair_lda", if_version=1)

    answer = asyncio.run(fit())
    assert (answer.version, answer.rows) == (2, 120)
