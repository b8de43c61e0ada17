"""Rows 17 to 20 and 95 of the bad-input catalogue: Host, Origin, and headers for browsers."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus

import httpx
import pytest

from tests.conftest import ServerFactory
from tests.problem import assert_canonical
from tests.security.guarded import Guarded, guarding
from tests.security.wire import Head, ask
from tests.server import RunningServer

_BATCH = {"hidden_states": [[0.5] * 8, [0.25] * 8]}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with guarding(tmp_path_factory.mktemp("guarded")) as found:
        yield found


_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD")
_FOREIGN = ("https://evil.example", "null", "http://127.0.0.1.evil.example", "http://localhost")


@pytest.mark.parametrize("method", _METHODS)
@pytest.mark.parametrize("path", ["/models/small", "/health/live", "/docs", "/nowhere"])
def test_row_95_a_foreign_page_is_refused_on_every_method(
    server: RunningServer, method: str, path: str
) -> None:
    for origin in _FOREIGN:
        headers = {"origin": origin, "access-control-request-method": "DELETE"}
        answer = server.http.request(method, path, headers=headers)
        assert answer.status_code == HTTPStatus.FORBIDDEN
        assert not [name for name in answer.headers if name.startswith("access-control")]
        if method != "HEAD":
            assert_canonical(answer, HTTPStatus.FORBIDDEN, "origin_not_allowed")


def test_row_95_a_page_of_this_server_may_ask(server: RunningServer) -> None:
    answer = server.http.post("/reduce", json=_BATCH, headers={"origin": server.url})
    assert answer.is_success


def test_an_origin_that_the_settings_name_may_ask(start_server: ServerFactory) -> None:
    server = start_server(allowed_origins="https://app.example, https://b.example")
    origins = ("https://app.example", "https://B.example", "http://app.example")
    answers = [server.http.get("/models", headers={"origin": name}) for name in origins]
    assert [answer.status_code for answer in answers] == [200, 200, 403]


_HOSTS = {
    "localhost": None,
    "LOCALHOST:1": None,
    "127.0.0.1": None,
    "127.0.0.1:65535": None,
    "[::1]:8000": None,
    "evil.example": "host_not_allowed",
    "localhost.evil.example": "host_not_allowed",
    "127.0.0.1.evil.example:8000": "host_not_allowed",
    "10.0.0.7": "host_not_allowed",
    "0.0.0.0": "host_not_allowed",
    "[::]": "host_not_allowed",
    "localhost.": "host_not_allowed",
    "localhost/openapi.json?x=": "bad_host",
    "localhost@evil.example": "bad_host",
    "local host": "bad_host",
    "localhost:": "bad_host",
    "localhost:80x": "bad_host",
    "localhost,evil.example": "bad_host",
    "": "bad_host",
    "[::1": "bad_host",
    "l\xf6calhost": "bad_host",
}


@pytest.mark.parametrize(("host", "code"), _HOSTS.items(), ids=lambda it: f"{it!a:.32}")
def test_rows_18_and_19_a_host_is_one_of_ours_or_refused(
    server: RunningServer, host: str, code: str | None
) -> None:
    for path in ("/models", "/health/live"):
        answer = ask(server, Head(line=f"GET {path} HTTP/1.1", host=host))
        if code is None:
            assert answer.status_code == HTTPStatus.OK
        else:
            status = HTTPStatus.BAD_REQUEST if code == "bad_host" else 421
            assert_canonical(answer, status, code)


@pytest.mark.parametrize("target", ["/models", "http://evil.example/models", "@evil.example"])
def test_rows_19_and_20_what_stands_in_host_or_target_opens_no_door(
    guarded: Guarded, target: str
) -> None:
    head = Head(line=f"GET {target} HTTP/1.1", host="localhost/openapi.json?x=")
    assert ask(guarded.server, head).status_code == HTTPStatus.BAD_REQUEST


def test_names_that_the_settings_give_are_answered(start_server: ServerFactory) -> None:
    server = start_server(allowed_hosts="slimvec.example, Other.Example")
    names = ("slimvec.example", "OTHER.example:8000", "evil.example")
    heads = [Head(line="GET /models HTTP/1.1", host=name) for name in names]
    assert [ask(server, head).status_code for head in heads] == [200, 200, 421]


def test_a_star_answers_to_every_name_but_not_to_every_form(start_server: ServerFactory) -> None:
    server = start_server(allowed_hosts="*")
    heads = [Head(line="GET /models HTTP/1.1", host=name) for name in ("any.example", "a/b")]
    assert [ask(server, head).status_code for head in heads] == [200, 400]


def test_an_address_that_reached_this_server_is_one_of_its_names(
    start_server: ServerFactory,
) -> None:
    server = start_server(host="0.0.0.0", insecure_no_auth=True)
    url = server.url.replace("0.0.0.0", "127.0.0.2")
    assert httpx.get(f"{url}/models").status_code == HTTPStatus.OK
    answer = httpx.get(f"{url}/models", headers={"host": "127.0.0.3"})
    assert_canonical(answer, HTTPStatus.MISDIRECTED_REQUEST, "host_not_allowed")


_SAFE = {
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/models"), ("POST", "/reduce"), ("GET", "/health/live"), ("GET", "/nowhere"),
        ("DELETE", "/reduce"), ("GET", "/openapi.json"), ("GET", "/docs/start.js"), ("GET", "/"),
    ],
)  # fmt: skip
def test_every_answer_says_how_a_browser_is_to_treat_it(
    server: RunningServer, method: str, path: str
) -> None:
    body = _BATCH if method == "POST" else None
    answer = server.http.request(method, path, json=body)
    assert answer.headers.items() >= _SAFE.items()
    assert "server" not in answer.headers


def test_the_page_may_run_its_own_scripts_and_nobody_elses(server: RunningServer) -> None:
    headers = server.http.get("/docs").headers
    [policy] = headers.get_list("content-security-policy")
    assert "script-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    others = {name: value for name, value in _SAFE.items() if name != "content-security-policy"}
    assert headers.items() >= others.items()
