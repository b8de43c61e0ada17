"""The field `mask`, and rows of ids: what they mean over HTTP, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.client import Client, Refused
from app.codecs import pack, unpack
from app.types import Batch, FloatArray
from tests.checks.kinds import document
from tests.server import Config, RunningServer, create, serving

SAFETENSORS = {"content-type": "application/x-safetensors", "accept": "application/x-safetensors"}
POOLED: Config = {
    "input_size": 3,
    "input_shape": [None, 3],
    "layers": [{"type": "TokenPooling"}, {"type": "QRReduction", "n_components": 2}],
    "loss": "mse",
    "optimizer": {"type": "SGD", "lr": 0.1},
    "recipe": "plain",
}
IDS: Config = {
    "input_size": 1,
    "input_shape": [None],
    "layers": [
        {"type": "EmbeddingBag", "num_embeddings": 1000, "embedding_dim": 4},
        {"type": "QRReduction", "n_components": 2},
    ],
    "recipe": "plain",
}
ROWS = np.random.default_rng(3).standard_normal((2, 4, 3)).astype(np.float32)
MASK = [[1, 1, 1, 1], [1, 1, 0, 0]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with serving(tmp_path_factory.mktemp("masks"), default_model="pooled") as running:
        create(running, "pooled", POOLED)
        create(running, "ids", IDS)
        create(running, "read", document("LSTM"))
        create(running, "shorter", document("TransformerEncoderLayer"))
        create(running, "plain", document("Linear"))
        yield running


def reduced(server: RunningServer, hidden_states: Any, **fields: Any) -> FloatArray:
    body = {"hidden_states": np.asarray(hidden_states).tolist(), **fields}
    answer = server.http.post("/reduce", json=body)
    assert answer.status_code == 200, answer.text
    return np.array(answer.json()["reduced"], np.float32)


def refusal(server: RunningServer, model: str, body: dict[str, Any]) -> tuple[str, str]:
    answer = server.http.post(f"/models/{model}/reduce", json=body)
    assert answer.status_code == 422, answer.text
    problem = answer.json()
    return problem["code"], problem["errors"][0]["pointer"]


def test_masked_tokens_are_not_looked_at(server: RunningServer) -> None:
    changed = ROWS.copy()
    changed[1, 2:] = 1e30
    expected = reduced(server, ROWS, mask=MASK)
    assert np.array_equal(reduced(server, changed, mask=MASK), expected)
    assert not np.array_equal(reduced(server, ROWS), expected)


def test_padded_row_gives_what_it_gives_alone(server: RunningServer) -> None:
    alone = [reduced(server, row) for row in (ROWS[0], ROWS[1, :2])]
    np.testing.assert_allclose(reduced(server, ROWS, mask=MASK), alone, rtol=0, atol=1e-6)


@pytest.mark.parametrize("leading", [(), (1,), (2, 1)])
def test_mask_has_the_leading_dimensions_of_its_rows(
    server: RunningServer, leading: tuple[int, ...]
) -> None:
    rows = np.broadcast_to(ROWS[1], (*leading, 4, 3))
    mask = np.broadcast_to(np.array(MASK[1]), (*leading, 4)).tolist()
    expected = np.broadcast_to(reduced(server, ROWS[1], mask=MASK[1]), (*leading, 2))
    np.testing.assert_allclose(reduced(server, rows, mask=mask), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.bool_, np.uint8, np.int64])
def test_binary_body_gives_the_same(server: RunningServer, dtype: Any) -> None:
    body = pack({"hidden_states": ROWS, "mask": np.array(MASK, dtype)}, {})
    answer = server.http.post("/reduce", content=body, headers=SAFETENSORS)
    arrays, _ = unpack(answer.content)
    assert np.array_equal(arrays["reduced"], reduced(server, ROWS, mask=MASK))


def test_json_may_say_true_and_false(server: RunningServer) -> None:
    mask = np.array(MASK, np.bool_).tolist()
    expected = reduced(server, ROWS, mask=MASK)
    assert np.array_equal(reduced(server, ROWS, mask=mask), expected)


@pytest.mark.parametrize("mask", [[[True, 1, 0, 1]] * 2, [[True, "x", True, True]] * 2])
def test_json_mask_is_all_booleans_or_all_numbers(server: RunningServer, mask: Any) -> None:
    body = {"hidden_states": ROWS.tolist(), "mask": mask}
    code, pointer = refusal(server, "pooled", body)
    assert (code, pointer[:6]) == ("wrong_type", "/mask/")


@pytest.mark.parametrize(
    ("mask", "pointer"),
    [
        ([[1, 1, 1], [1, 1, 1]], "/mask"),
        ([1, 1, 1, 1], "/mask"),
        ([[1, 0, 1, 1], [1, 0, 2, 1]], "/mask/1/2"),
    ],
)
def test_mask_of_another_form_is_refused_with_its_place(
    server: RunningServer, mask: Any, pointer: str
) -> None:
    body = {"hidden_states": ROWS.tolist(), "mask": mask}
    assert refusal(server, "pooled", body) == ("mask_invalid", pointer)


def test_row_in_which_no_token_counts_is_refused(server: RunningServer) -> None:
    body = {"hidden_states": ROWS.tolist(), "mask": [[1, 1, 1, 1], [0, 0, 0, 0]]}
    assert refusal(server, "pooled", body) == ("mask_invalid", "/mask/1")
    step = {**body, "targets": [[0, 0], [0, 0]]}
    answer = server.http.post("/train-step", json=step)
    assert (answer.status_code, answer.json()["code"]) == (422, "mask_invalid")


def test_recurrent_layer_refuses_a_token_behind_a_gap(server: RunningServer) -> None:
    body = {"hidden_states": np.ones((1, 4, 4)).tolist(), "mask": [[1, 0, 1, 0]]}
    assert refusal(server, "read", body) == ("mask_invalid", "/mask")


def test_the_client_looks_at_the_tokens_that_count(server: RunningServer) -> None:
    with Client(str(server.http.base_url), "pooled") as client:
        looked = client.jvp(ROWS, ROWS, mask=MASK)
    np.testing.assert_allclose(looked.reduced, reduced(server, ROWS, mask=MASK), atol=1e-6)


def test_mask_of_a_model_that_uses_none_is_refused(server: RunningServer) -> None:
    body = {"hidden_states": [[1, 2, 3]], "mask": [1]}
    assert refusal(server, "plain", body) == ("field_not_used", "/mask")


def test_step_with_a_mask_is_another_step(server: RunningServer) -> None:
    body = {"hidden_states": ROWS.tolist(), "targets": [[0, 0], [0, 0]], "mask": MASK}
    key = {"idempotency-key": "one"}
    first = server.http.post("/train-step", json=body, headers=key)
    again = server.http.post("/train-step", json=body, headers=key)
    other = server.http.post("/train-step", json={**body, "mask": [[1] * 4] * 2}, headers=key)
    assert first.status_code == 200, first.text
    assert again.content == first.content
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


def test_step_does_not_look_at_masked_tokens(server: RunningServer) -> None:
    digests = []
    changed = np.where(np.array(MASK)[..., None], ROWS, 100)
    for number, (rows, mask) in enumerate([(ROWS, MASK), (changed, MASK), (ROWS, [[1] * 4] * 2)]):
        create(server, f"twin{number}", POOLED)
        body = {"hidden_states": rows.tolist(), "mask": mask, "targets": [[0, 0], [0, 0]]}
        answer = server.http.post(f"/models/twin{number}/train-step", json=body)
        digests.append(answer.json()["digest"])
    assert digests[0] == digests[1] != digests[2]


def test_steps_may_have_rows_of_other_lengths(server: RunningServer) -> None:
    for length in (4, 6, 1):
        body = {"hidden_states": np.ones((3, length, 3)).tolist(), "targets": [[0, 0]] * 3}
        answer = server.http.post("/train-step", json=body)
        assert answer.status_code == 200, answer.text


def test_client_sends_masks(server: RunningServer) -> None:
    mask, targets = np.array(MASK, np.float32), np.zeros((2, 2), np.float32)
    batch = Batch(hidden_states=ROWS, targets=targets, mask=mask)
    with Client(server.url) as client:
        before = client.reduce(ROWS, mask=mask)
        assert np.array_equal(before.array, reduced(server, ROWS, mask=MASK))
        client.train_step(ROWS, targets=targets, mask=mask)
        assert not any(isinstance(item, Refused) for item in client.train_stream([batch]))
        assert client.reduce(ROWS, mask=mask).stamp.version == before.stamp.version + 2


@pytest.mark.parametrize("ids", [[0.5], [-1], [1000], [16777216], [1e30]])
def test_number_that_is_no_id_is_refused(server: RunningServer, ids: list[float]) -> None:
    assert refusal(server, "ids", {"hidden_states": [ids]}) == ("out_of_range", "/hidden_states")
    answer = server.http.post("/models/ids/train-step", json={"hidden_states": [ids]})
    assert (answer.status_code, answer.json()["code"]) == (422, "out_of_range")


@pytest.mark.parametrize("settings", [{"dtype": "bfloat16"}, {"deterministic": True}], ids=str)
def test_ids_stay_whole_numbers(tmp_path: Path, settings: dict[str, Any]) -> None:
    with serving(tmp_path, default_model="ids", **settings) as server:
        create(server, "ids", {**IDS, "input_size": 2, "input_shape": [2]})
        first, second = reduced(server, [[900, 901]]), reduced(server, [[900, 900]])
        assert not np.array_equal(first, second)
        together = reduced(server, [[900, 901], [900, 900]])
        assert np.array_equal(together, np.concatenate([first, second]))
