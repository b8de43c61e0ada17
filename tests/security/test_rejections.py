"""Rows 77 and 78: steps rejected one after the other, and a model that is never trained."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from safetensors.numpy import save
from websockets.sync.client import connect

from tests.conftest import MODELS, ModelFactory, ServerFactory
from tests.problem import assert_canonical
from tests.security.catalogue.request import GOLDEN, JSON, SAFETENSORS
from tests.security.guarded import Guarded, guarding
from tests.security.postcondition import nothing_remains
from tests.server import RunningServer, create, declare
from tests.stream import FRAMES, NDJSON, StreamClient, frame, json_record

_MOST = 3
_ROWS = np.sin(np.arange(32, dtype=np.float32)).reshape(4, 8)
_GOOD = {"hidden_states": _ROWS.tolist()}
_POISON = {"hidden_states": [[3e38] * 8], "loss": "reconstruction"}
_SKIP = "/train-stream?on_error=skip"


@pytest.fixture
def strict(start_server: ServerFactory) -> RunningServer:
    """A server of the models `small` and `other` that soon has enough."""
    server = start_server(max_rejections=_MOST)
    for name in ("small", "other"):
        create(server, name, MODELS["small"])
    return server


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Guarded]:
    with guarding(tmp_path, max_rejections=_MOST) as found:
        yield found


def _poison(server: RunningServer, times: int = _MOST) -> list[int]:
    return [server.http.post("/train-step", json=_POISON).status_code for _ in range(times)]


def _stream(server: RunningServer, *records: bytes, form: str = NDJSON) -> list[str]:
    """What became of the records, one by one."""
    with StreamClient(server.url, _SKIP, form) as stream:
        told = []
        for record in records:
            stream.send(record)
            line = stream.line()
            assert line is not None
            if "error" in line:
                stream.line()  # its acknowledgement
            told.append(line.get("error", {"code": "applied"})["code"])
        stream.end()
        return told


def test_row_77_who_has_only_sent_rejected_steps_has_to_pause(
    strict: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    with nothing_remains(strict, caplog, known=("small",)):
        assert _poison(strict) == [422] * _MOST
        answer = strict.http.post("/train-step", json=_GOOD)
        assert_canonical(answer, 429, "too_many_rejections")
        assert answer.headers["retry-after"] == "60"


def test_row_77_reads_and_other_models_go_on(strict: RunningServer) -> None:
    _poison(strict, _MOST + 1)
    assert strict.http.post("/reduce", json=_GOOD).status_code == 200
    assert strict.http.post("/models/other/train-step", json=_GOOD).status_code == 200


def test_row_77_what_was_refused_is_counted(strict: RunningServer) -> None:
    _poison(strict, _MOST + 2)
    counters = strict.http.get("/models/small").json()["counters"]
    assert counters["refused_too_many_rejections"] == 2
    labels = 'model="small",reason="too_many_rejections"'
    assert f"slimvec_steps_refused_total{{{labels}}} 2.0" in strict.http.get("/metrics").text


def test_row_77_an_accepted_step_ends_the_row(strict: RunningServer) -> None:
    for _ in range(2):
        _poison(strict, _MOST - 1)
        assert strict.http.post("/train-step", json=_GOOD).status_code == 200


def test_row_77_what_no_guard_refused_is_not_counted(strict: RunningServer) -> None:
    for _ in range(_MOST):
        strict.http.post("/train-step", json={"hidden_states": [[1]]})
        strict.http.post("/train-step", json={**_GOOD, "loss": "mse"})  # without targets
    assert strict.http.post("/train-step", json=_GOOD).status_code == 200


def test_row_77_a_refused_step_leaves_its_key_free(strict: RunningServer) -> None:
    _poison(strict)
    headers = {"idempotency-key": "k"}
    answer = strict.http.post("/train-step", json=_GOOD, headers=headers)
    assert_canonical(answer, 429, "too_many_rejections")
    assert len(strict.service.histories["small"].keys) == 0


def test_row_77_a_new_model_of_the_name_has_no_part_in_it(strict: RunningServer) -> None:
    _poison(strict)
    strict.http.delete("/models/small")
    create(strict, "small", MODELS["small"])
    assert strict.http.post("/train-step", json=_GOOD).status_code == 200


def test_row_77_records_that_are_passed_over_count_as_steps_do(strict: RunningServer) -> None:
    poison, good = json.dumps(_POISON).encode() + b"\n", json_record(hidden_states=_ROWS)
    told = _stream(strict, *[poison] * _MOST, good, good)
    assert told == ["step_rejected"] * _MOST + ["too_many_rejections"] * 2
    answer = strict.http.post("/train-step", json=_GOOD)
    assert_canonical(answer, 429, "too_many_rejections")


def test_row_77_one_sender_does_not_stop_another(guarded: Guarded) -> None:
    def send(key: str, body: object) -> httpx.Response:
        return guarded.ask(key, "POST", "/models/small/train-step", body=body)

    assert [send("train", _POISON).status_code for _ in range(_MOST)] == [422] * _MOST
    assert send("admin", _GOOD).status_code == 200
    assert_canonical(send("train", _GOOD), 429, "too_many_rejections")


def test_row_77_a_stream_is_of_the_sender_that_opened_it(guarded: Guarded) -> None:
    for _ in range(_MOST):
        guarded.ask("train", "POST", "/models/small/train-step", body=_POISON)
    told = {}
    for key in ("train", "admin"):
        headers = [f"Authorization: Bearer {guarded.keys[key]}"]
        with StreamClient(guarded.server.url, _SKIP, headers=headers) as stream:
            stream.send(json_record(hidden_states=_ROWS))
            line = stream.line() or {}
            told[key] = line.get("error", {"code": "applied"})["code"]
    assert told == {"train": "too_many_rejections", "admin": "applied"}


@pytest.fixture
def frozen(new_model: ModelFactory) -> str:
    return new_model(declare(8, 3, frozen=True))


@pytest.mark.parametrize("verb", ["train-step", "fit"])
@pytest.mark.parametrize("form", [JSON, SAFETENSORS])
def test_row_78_a_frozen_model_is_not_trained(
    server: RunningServer,
    frozen: str,
    verb: str,
    form: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    body = json.dumps(_GOOD).encode() if form == JSON else save({"hidden_states": _ROWS})
    with nothing_remains(server, caplog, known=(*MODELS, frozen)):
        target, headers = f"/models/{frozen}/{verb}", {"content-type": form}
        answer = server.http.post(target, content=body, headers=headers)
        assert_canonical(answer, 409, "model_frozen")


def test_row_78_a_key_is_not_used_up(server: RunningServer, frozen: str) -> None:
    headers = {"idempotency-key": "k"}
    answer = server.http.post(f"/models/{frozen}/train-step", json=_GOOD, headers=headers)
    assert_canonical(answer, 409, "model_frozen")
    assert len(server.service.histories[frozen].keys) == 0


@pytest.mark.parametrize("form", [NDJSON, FRAMES])
def test_row_78_nor_by_a_stream(server: RunningServer, frozen: str, form: str) -> None:
    record = (json_record if form == NDJSON else frame)(hidden_states=_ROWS)
    target = f"/models/{frozen}/train-stream"
    answer = server.http.post(target, content=record * 2, headers={"content-type": form})
    lines = [json.loads(line) for line in answer.content.splitlines()]
    assert [(line["record"], line["error"]["code"]) for line in lines] == [(1, "model_frozen")]


def test_row_78_nor_by_a_websocket(server: RunningServer, frozen: str) -> None:
    url = f"{server.url.replace('http', 'ws')}/models/{frozen}{_SKIP}"
    with connect(url, compression=None) as connection:
        connection.send(json.dumps(_GOOD))
        assert json.loads(connection.recv())["error"]["code"] == "model_frozen"


def test_row_78_a_frozen_model_is_served_and_says_what_it_is(
    server: RunningServer, frozen: str
) -> None:
    target = f"/models/{frozen}"
    assert server.http.get(target).json()["config"]["frozen"] is True
    answer = server.http.post(f"{target}/reduce", json={"hidden_states": GOLDEN.tolist()})
    assert answer.json()["version"] == 1


def test_row_78_an_operator_may_change_what_it_serves(server: RunningServer, frozen: str) -> None:
    target = f"/models/{frozen}"
    headers = {"content-type": SAFETENSORS, "if-match": '"1"'}
    weights = save({"Q_reduced": np.eye(3, 8, dtype=np.float32)})
    answers = [
        server.http.put(target, content=weights, headers=headers),
        server.http.post(f"{target}/versions"),
        server.http.put(f"{target}/serving", json={"version": 1}),
        server.http.post(f"{target}/rollback", json={"version": 1}),
    ]
    assert [answer.is_success for answer in answers] == [True] * len(answers)
    assert server.http.get(target).json()["version"] == 3
