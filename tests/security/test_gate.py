"""Rows 82 and 89 to 94 of the bad-input catalogue: who may ask what.

Nothing is read of a body that may not be asked for: refused train steps here have none at all.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from app.access import KeyScope
from app.api.scopes import SCOPES, WEBSOCKET, Needs
from tests.api_keys import add_key, revoke_key
from tests.conftest import ServerFactory
from tests.problem import assert_canonical
from tests.security.guarded import Guarded, guarding
from tests.security.wire import Head, Wire, ask

_BATCH = {"hidden_states": [[0.5] * 8, [0.25] * 8]}
_PATIENCE_S = 20.0


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with guarding(tmp_path_factory.mktemp("guarded")) as found:
        yield found


# Row 89 and 90: the header as it is sent; `KEY` is a right one.
_NO_KEY: dict[str, tuple[str, ...]] = {
    "none": (),
    "empty": ("Authorization: ",),
    "empty-bearer": ("Authorization: Bearer ",),
    "bearer-alone": ("Authorization: Bearer",),
    "no-scheme": ("Authorization: KEY",),
    "basic": ("Authorization: Basic c3Y6c3Y=",),
    "basic-with-the-key": ("Authorization: Basic KEY",),
    "other-header": ("X-Api-Key: KEY",),
    "cookie": ("Cookie: authorization=Bearer KEY",),
    "proxy": ("Proxy-Authorization: Bearer KEY",),
    "two-spaces": ("Authorization: Bearer  KEY",),
    "comma": ("Authorization: Bearer KEY,",),
    "quoted": ('Authorization: Bearer "KEY"',),
    "twice-in-one": ("Authorization: Bearer KEY, Bearer KEY",),
    "other-case": ("Authorization: Bearer UPPER",),
    "one-more": ("Authorization: Bearer KEY0",),
    "no-break-space": ("Authorization: Bearer KEY\xa0",),
    "long": ("Authorization: Bearer " + "0" * 8000,),
    "expired": ("Authorization: Bearer EXPIRED",),
}


@pytest.mark.parametrize("headers", _NO_KEY.values(), ids=_NO_KEY)
def test_rows_89_and_90_without_a_right_key_nothing_is_answered(
    guarded: Guarded, headers: tuple[str, ...]
) -> None:
    key, expired = guarded.keys["admin"], guarded.keys["expired"]
    filled = tuple(
        line.replace("KEY", key).replace("UPPER", key.upper()).replace("EXPIRED", expired)
        for line in headers
    )
    answer = ask(guarded.server, Head(line="GET /models HTTP/1.1", headers=filled))
    is_shown = any(line.startswith("Authorization:") for line in headers)
    code = "api_key_unknown" if is_shown else "api_key_missing"
    assert_canonical(answer, HTTPStatus.UNAUTHORIZED, code)
    assert answer.headers["www-authenticate"] == "Bearer"
    assert key not in answer.text


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_may_be_written_in_any_case(guarded: Guarded, scheme: str) -> None:
    line = f"Authorization: {scheme} {guarded.keys['read']}"
    head = Head(line="GET /models HTTP/1.1", headers=(line,))
    assert ask(guarded.server, head).status_code == HTTPStatus.OK


@pytest.mark.parametrize("also_in_header", [False, True])
def test_row_89_a_key_in_the_query_is_refused_whatever_else_comes(
    guarded: Guarded, also_in_header: bool
) -> None:
    target = f"/models?api_key={guarded.keys['read']}"
    answer = guarded.ask("read" if also_in_header else None, "GET", target)
    assert_canonical(answer, HTTPStatus.UNAUTHORIZED, "api_key_in_query")
    assert guarded.keys["read"] not in answer.text


def test_two_authorizations_are_no_question_of_taste(guarded: Guarded) -> None:
    line = f"Authorization: Bearer {guarded.keys['read']}"
    head = Head(line="GET /models HTTP/1.1", headers=(line, line))
    assert_canonical(ask(guarded.server, head), HTTPStatus.BAD_REQUEST, "duplicate_header")


_ROUTES = {route: needs for route, needs in SCOPES.items() if route[0] != WEBSOCKET}


def _target(path: str) -> str:
    return path.replace("{model}", "none").replace("{version}", "1").replace("{id}", "none")


@pytest.mark.parametrize(("route", "needs"), _ROUTES.items(), ids=map("-".join, _ROUTES))
def test_row_91_each_route_answers_the_scopes_that_it_is_for(
    guarded: Guarded, route: tuple[str, str], needs: Needs
) -> None:
    method, path = route
    found: dict[KeyScope | None, int] = {None: guarded.ask(None, method, _target(path)).status_code}
    for scope in KeyScope:
        found[scope] = guarded.ask(scope.word, method, _target(path)).status_code
    refused = {scope for scope, status in found.items() if status in (401, 403)}
    if needs.scope is None:
        assert not refused
    else:
        assert refused == {None, *(scope for scope in KeyScope if scope < needs.scope)}
        assert found[None] == HTTPStatus.UNAUTHORIZED


@pytest.mark.parametrize(
    ("key", "method", "path"),
    [("read", "POST", "/train-step"), ("train", "PUT", "/models/new"), ("read", "POST", "/fit")],
)
def test_row_91_a_scope_is_refused_before_the_body_is_read(
    guarded: Guarded, key: str, method: str, path: str
) -> None:
    proof = f"Authorization: Bearer {guarded.keys[key]}"
    announced = (proof, "Content-Type: application/json", "Content-Length: 1000000")
    with Wire(guarded.server) as wire:  # not one byte of the body is ever sent
        wire.send(Head(line=f"{method} {path} HTTP/1.1", headers=announced).encode())
        answer = wire.receive(method)
    assert_canonical(answer, HTTPStatus.FORBIDDEN, "insufficient_scope")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/models/{}"), ("PUT", "/models/{}"), ("DELETE", "/models/{}"),
        ("GET", "/models/{}/state"), ("POST", "/models/{}/reduce"),
        ("POST", "/models/{}/train-step"), ("POST", "/models/{}/train-stream"),
        ("GET", "/models/{}/versions/1"),
    ],
)  # fmt: skip
def test_row_92_a_model_of_others_is_as_one_that_is_nowhere(
    guarded: Guarded, method: str, path: str
) -> None:
    there, nowhere = (
        guarded.ask("small-only", method, path.format(name), request_id="the-same")
        for name in ("other", "none-such")
    )
    assert_canonical(there, HTTPStatus.NOT_FOUND, "model_not_found")
    assert there.content == nowhere.content


def test_row_92_a_key_for_some_models_sees_no_trace_of_others(guarded: Guarded) -> None:
    mine, everything = (
        guarded.ask(key, "GET", "/models").json() for key in ("small-only", "admin")
    )
    assert [model["model"] for model in mine["models"]] == ["small"]
    assert [model["model"] for model in everything["models"]] == ["other", "small"]
    assert guarded.ask("small-only", "POST", "/models/small/reduce", body=_BATCH).is_success
    metrics = guarded.ask("small-only", "GET", "/metrics")
    assert_canonical(metrics, HTTPStatus.FORBIDDEN, "insufficient_scope")


def test_row_93_a_revoked_key_is_refused_on_the_connection_that_it_opened(
    guarded: Guarded,
) -> None:
    text = add_key(guarded.keys_file)
    proof = {"authorization": f"Bearer {text}"}
    with httpx.Client(base_url=guarded.server.url, headers=proof) as http:
        _await(http, HTTPStatus.OK)
        stream = http.get("/models").extensions["network_stream"]
        revoke_key(guarded.keys_file, text)
        refused = _await(http, HTTPStatus.UNAUTHORIZED)
        assert refused.extensions["network_stream"] is stream
    assert_canonical(refused, HTTPStatus.UNAUTHORIZED, "api_key_unknown")
    assert guarded.ask("read", "GET", "/models").is_success


def _await(http: httpx.Client, status: HTTPStatus) -> httpx.Response:
    """Ask until the answer is this one: the file is looked at once a second."""
    patience = time.monotonic() + _PATIENCE_S
    while (answer := http.get("/models")).status_code != status:
        assert time.monotonic() < patience, answer.text
        time.sleep(0.05)
    return answer


def test_row_94_whoever_goes_on_with_wrong_keys_is_told_to_wait(
    start_server: ServerFactory, tmp_path: Path
) -> None:
    text = add_key(tmp_path / "keys.json")
    http = start_server(keys_file=tmp_path / "keys.json").http
    wrong = {"authorization": f"Bearer sv_{'0' * 12}_{'0' * 64}"}
    answers = [http.get("/models", headers=wrong) for _ in range(130)]
    assert {answer.status_code for answer in answers[:100]} == {401}
    assert_canonical(answers[-1], HTTPStatus.TOO_MANY_REQUESTS, "too_many_wrong_keys")
    right = http.get("/models", headers={"authorization": f"Bearer {text}"})
    assert (right.status_code, http.get("/models").status_code) == (200, 401)
    metrics = http.get("/metrics", headers={"authorization": f"Bearer {text}"}).text
    assert 'slimvec_refusals_total{code="too_many_wrong_keys"}' in metrics


@pytest.mark.parametrize(
    ("key", "status"), [(None, 401), ("read", 403), ("small-only", 404), ("train", 101)]
)
def test_a_websocket_is_opened_by_a_key_to_train(
    guarded: Guarded, key: str | None, status: int
) -> None:
    url = guarded.server.url.replace("http", "ws") + "/models/other/train-stream"
    proof = {"authorization": f"Bearer {guarded.keys[key]}"} if key else {}
    assert _handshake(url, proof) == status


@pytest.mark.parametrize("key", ["read", "small-only"])
@pytest.mark.parametrize(
    "target", ["*/models/other/train-stream", "*/train-stream", "*x/train-stream"]
)
def test_a_websocket_at_a_target_that_is_no_path_is_refused(
    guarded: Guarded, target: str, key: str
) -> None:
    websocket = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13")
    proof = (f"Authorization: Bearer {guarded.keys[key]}", f"Sec-WebSocket-Key: {'A' * 22}==")
    head = Head(line=f"GET {target} HTTP/1.1", headers=(*websocket, *proof))
    assert_canonical(ask(guarded.server, head), HTTPStatus.BAD_REQUEST, "bad_request")


def _handshake(url: str, headers: Mapping[str, str]) -> int | None:
    try:
        with connect(url, additional_headers=headers) as connection:
            return connection.response.status_code if connection.response else None
    except InvalidStatus as refused:
        return refused.response.status_code


def test_row_82_one_idempotency_key_of_two_senders_is_two(guarded: Guarded) -> None:
    versions = [
        guarded.ask(
            key, "POST", "/models/other/train-step", body=_BATCH, idempotency_key="monday"
        ).json()["version"]
        for key in ("train", "admin", "train")
    ]
    assert versions == [2, 3, 2]


def test_probes_answer_without_a_key_and_tell_strangers_no_names(guarded: Guarded) -> None:
    damage = guarded.server.service.models.not_loaded
    damage["secret-model"] = "its files"
    try:
        strangers, operators = (guarded.ask(key, "GET", "/health/ready") for key in (None, "admin"))
    finally:
        del damage["secret-model"]
    assert strangers.json() == {
        "status": "ready", "serving": True, "training": False, "stopped": {}, "not_loaded": {},
        "reason": "a model could not be loaded",
    }  # fmt: skip
    assert operators.json()["not_loaded"] == {"secret-model": "its files"}


def test_the_key_stands_in_the_log_by_its_id_alone(
    guarded: Guarded, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "slimvec.access")
    guarded.ask("read", "POST", "/train-step")
    guarded.ask("read", "GET", "/health/live")  # the record is written by now
    [record] = [record for record in caplog.records if record.message == "request"]
    _, key_id, secret = guarded.keys["read"].split("_")
    assert (vars(record)["key"], vars(record)["code"]) == (key_id, "insufficient_scope")
    assert secret not in str(vars(record))
