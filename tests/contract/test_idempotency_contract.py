"""Idempotency-Key: a step is applied once, however often, in whatever form, it is sent."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from safetensors.numpy import save

from tests.conftest import MODELS, ModelFactory, ServerFactory
from tests.contract.wire import SAFETENSORS, as_base64, some_rows
from tests.e2e.process import ServerProcess
from tests.problem import assert_canonical
from tests.server import RawAnswer, RunningServer, create, raw_request

_ROWS = some_rows(6, 8)
_TARGETS = some_rows(6, 3)
_BATCH = {"hidden_states": _ROWS.tolist()}
_LISTS = {"hidden_states": _ROWS.tolist(), "targets": _TARGETS.tolist(), "loss": "mse"}
# The same step in every form that it can have.
FORMS: dict[str, dict[str, Any]] = {
    "lists": {"json": _LISTS},
    "base64": {
        "json": {
            "hidden_states": as_base64(_ROWS),
            "targets": as_base64(_TARGETS),
            "loss": {"type": "mse"},
        }
    },
    "safetensors": {
        "content": save({"hidden_states": _ROWS, "targets": _TARGETS}),
        "headers": {"content-type": SAFETENSORS},
        "params": {"loss": "mse"},
    },
}


@pytest.fixture
def path(new_model: ModelFactory) -> str:
    return f"/models/{new_model()}"


def _train(http: httpx.Client, path: str, key: str | None, **request: Any) -> httpx.Response:
    headers = request.pop("headers", {}) | ({} if key is None else {"idempotency-key": key})
    return http.post(f"{path}/train-step", headers=headers, **(request or {"json": _BATCH}))


def _raw_train(server: RunningServer, keys: tuple[str, ...]) -> RawAnswer:
    headers = (("Content-Type", "application/json"), *(("Idempotency-Key", key) for key in keys))
    body = str(_BATCH).replace("'", '"').encode()
    return raw_request(server, "/train-step", method="POST", headers=headers, body=body)


def _version(http: httpx.Client, path: str) -> Any:
    return http.get(f"{path}/state").json()["version"]


def test_the_same_request_again_gets_the_stored_answer_byte_for_byte(
    server: RunningServer, path: str
) -> None:
    first = _train(server.http, path, "a")
    _train(server.http, path, None)
    again = _train(server.http, path, "a")
    assert (first.status_code, again.status_code) == (200, 200)
    assert again.content == first.content
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["model-version"] == first.headers["model-version"] == "2"
    assert _version(server.http, path) == 3


@pytest.mark.parametrize("second", FORMS)
@pytest.mark.parametrize("first", FORMS)
def test_the_same_batch_in_another_form_is_the_same_request(
    server: RunningServer, path: str, first: str, second: str
) -> None:
    before = _train(server.http, path, "a", **FORMS[first])
    again = _train(server.http, path, "a", **FORMS[second])
    assert (again.status_code, again.content) == (200, before.content)
    assert _version(server.http, path) == 2


@pytest.mark.parametrize(
    "other",
    [
        {**_LISTS, "hidden_states": some_rows(7, 8)[1:].tolist()},
        {**_LISTS, "hidden_states": _ROWS.reshape(2, 3, 8).tolist(),
         "targets": _TARGETS.reshape(2, 3, 3).tolist()},
        {**_LISTS, "loss": "cosine"},
        {**_LISTS, "sample_weights": [1, 1, 1, 1, 1, 2]},
        {**_LISTS, "targets": some_rows(7, 3)[1:].tolist()},
        _BATCH,
    ],
    ids=["rows", "shape", "loss", "weights", "targets", "no-targets"],
)  # fmt: skip
def test_row_80_another_request_under_the_key_is_refused(
    server: RunningServer, path: str, other: dict[str, Any]
) -> None:
    _train(server.http, path, "a", **FORMS["lists"]).raise_for_status()
    answer = _train(server.http, path, "a", json=other)
    assert_canonical(answer, 422, "idempotency_key_reused")
    assert _version(server.http, path) == 2


def test_row_81_eight_at_once_are_one_step(server: RunningServer, path: str) -> None:
    with ThreadPoolExecutor(8) as pool, httpx.Client(base_url=server.url, timeout=60) as http:
        answers = list(pool.map(lambda _: _train(http, path, "a"), range(8)))
    applied = [answer for answer in answers if answer.status_code == 200]
    for answer in answers:
        if answer.status_code != 200:
            assert_canonical(answer, 409, "idempotency_in_progress")
    assert {answer.content for answer in applied} == {_train(server.http, path, "a").content}
    assert sum("idempotency-replayed" not in answer.headers for answer in applied) == 1
    assert _version(server.http, path) == 2


def test_a_key_belongs_to_its_model(server: RunningServer, new_model: ModelFactory) -> None:
    for path in (f"/models/{new_model()}", f"/models/{new_model()}"):
        answer = _train(server.http, path, "shared")
        assert (answer.status_code, answer.headers["model-version"]) == (200, "2")


def test_a_refused_request_leaves_its_key_free(server: RunningServer, path: str) -> None:
    spoiled: list[tuple[dict[str, Any], str]] = [
        ({"hidden_states": [[3e38] * 8], "loss": "reconstruction"}, "step_rejected"),
        ({**_BATCH, "loss": "huber"}, "config_invalid"),
        ({"hidden_states": [[1]]}, "shape_mismatch"),
    ]
    for body, code in spoiled:
        assert_canonical(_train(server.http, path, "a", json=body), 422, code)
    stale = _train(server.http, path, "a", json=_BATCH, headers={"if-match": '"9"'})
    assert_canonical(stale, 412, "version_mismatch")
    answer = _train(server.http, path, "a")
    assert (answer.status_code, answer.headers["model-version"]) == (200, "2")
    assert "idempotency-replayed" not in answer.headers


def test_a_retry_gets_its_answer_although_the_version_went_on(
    server: RunningServer, path: str
) -> None:
    condition = {"if-match": '"1"'}
    first = _train(server.http, path, "a", json=_BATCH, headers=dict(condition))
    _train(server.http, path, "b")
    again = _train(server.http, path, "a", json=_BATCH, headers=dict(condition))
    assert (first.status_code, again.status_code, again.content) == (200, 200, first.content)


@pytest.mark.parametrize(
    "values",
    [
        ("",), (" ",), ("a" * 256,), ("a\tb",), ("\xe9",), ("a", "a"), ("a", "b"),
    ],
    ids=["empty", "blank", "256", "tab", "non-ascii", "twice", "two"],
)  # fmt: skip
def test_row_79_what_is_no_key_is_refused(server: RunningServer, values: tuple[str, ...]) -> None:
    before = _version(server.http, "/models/small")
    answer = _raw_train(server, values)
    assert (answer.status, b'"code":"bad_idempotency_key"' in answer.body) == (400, True)
    assert _version(server.http, "/models/small") == before


@pytest.mark.parametrize("value", ["a\x01b", "a\x7fb"], ids=["control", "delete"])
def test_row_79_a_control_character_does_not_get_past_http(
    server: RunningServer, value: str
) -> None:
    before = _version(server.http, "/models/small")
    assert _raw_train(server, (value,)).status == 400
    assert _version(server.http, "/models/small") == before


@pytest.mark.parametrize("key", ["a", "a" * 255, "a b", '"quoted"', "!~"])
def test_a_key_is_1_to_255_printable_characters(server: RunningServer, path: str, key: str) -> None:
    assert _train(server.http, path, key).status_code == 200
    assert _train(server.http, path, key).headers["idempotency-replayed"] == "true"


def test_row_83_a_key_beyond_the_window_is_new_and_the_window_is_published(
    start_server: ServerFactory,
) -> None:
    server = start_server(idempotency_window_s=1e-9, idempotency_keys=2)
    create(server, "small", MODELS["small"])
    versions = [_train(server.http, "", key).json()["version"] for key in "abcab"]
    answer = _train(server.http, "", "c")
    assert versions == [2, 3, 4, 5, 6]  # a and b were forgotten, each before it came again
    assert answer.headers["idempotency-window"] == "1e-09;keys=2"
    assert "idempotency-window" not in _train(server.http, "", None).headers


def test_the_newest_keys_are_remembered_at_any_age(start_server: ServerFactory) -> None:
    server = start_server(idempotency_window_s=1e-9, idempotency_keys=2)
    create(server, "small", MODELS["small"])
    first = {key: _train(server.http, "", key).content for key in "abc"}
    assert {key: _train(server.http, "", key).content for key in "bc"} == {
        key: first[key] for key in "bc"
    }


def test_young_keys_are_remembered_beyond_that_number(start_server: ServerFactory) -> None:
    server = start_server(idempotency_keys=1, idempotency_keys_max=3)
    create(server, "small", MODELS["small"])
    for key in "abcd":
        _train(server.http, "", key).raise_for_status()
    replayed = ["idempotency-replayed" in _train(server.http, "", key).headers for key in "bcda"]
    assert replayed == [True, True, True, False]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_keys_survive_a_restart(tmp_path: Path, number: signal.Signals) -> None:
    flags = ("--default-model", "small", "--device", "cpu")
    with ServerProcess(tmp_path, *flags) as server:
        server.client.put("/models/small", json=MODELS["small"]).raise_for_status()
        before = _train(server.client, "", "before")
        server.client.post("/models/small/versions").raise_for_status()
        after = _train(server.client, "", "after")
        server.stop(number)
    with ServerProcess(tmp_path, *flags) as server:
        assert _train(server.client, "", "before").content == before.content
        assert _train(server.client, "", "after").content == after.content
        assert _version(server.client, "/models/small") == 3
        other = _train(server.client, "", "after", **FORMS["lists"])
        assert_canonical(other, 422, "idempotency_key_reused")
