"""Model names: the rule of the contract, and row 97 of the bad-input catalogue."""

from __future__ import annotations

import json

import pytest

from tests.conftest import MODELS
from tests.problem import assert_canonical
from tests.server import RunningServer, create, raw_request

_VERBS = [("PUT", ""), ("POST", "/reduce"), ("POST", "/versions")]


@pytest.mark.parametrize(
    "name",
    [
        "..", ".", "...", "-rf", "rf-", ".a", "a.", "a..b", "A", "a" * 65, "a%00b", "a%0A", "%0Aa",
        "a%20", "%20", "_a", "a%2B", "%EF%BD%81", "%E2%84%AA", "%EF%AC%81", "a%E2%80%8Bb",
        "%D9%A1", "%ff", "a%5Cb", "~", "a:b", "a;b=c", "a@b",
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    ("verb", "suffix"), [("PUT", ""), ("POST", "/reduce"), ("POST", "/versions")]
)
def test_what_is_no_model_name_never_reaches_the_disk(
    server: RunningServer, name: str, verb: str, suffix: str
) -> None:
    before = _everything_beside(server)
    headers = (("Content-Type", "application/json"),)
    body = json.dumps(MODELS["small"] if verb == "PUT" else {"hidden_states": [[1] * 8]}).encode()
    answer = raw_request(server, f"/models/{name}{suffix}", method=verb, headers=headers, body=body)
    assert (answer.status, json.loads(answer.body)["code"]) == (422, "model_name_invalid")
    assert _everything_beside(server) == before


@pytest.mark.parametrize(("verb", "path"), [("PUT", "/models/"), ("DELETE", "/models/")])
def test_an_empty_name_is_no_path(server: RunningServer, verb: str, path: str) -> None:
    assert_canonical(server.http.request(verb, path), 404, "route_not_found")


def _everything_beside(server: RunningServer) -> list[str]:
    return sorted(str(path) for path in server.models_dir.parent.rglob("*"))


@pytest.mark.parametrize("name", ["a/b", "a%2Fb", "..%2f..%2fetc", "%2e%2e%2fetc", "/etc", "a/"])
def test_a_name_with_a_slash_is_another_path(server: RunningServer, name: str) -> None:
    answer = raw_request(server, f"/models/{name}", method="DELETE")
    assert answer.status == 404
    assert b"route_not_found" in answer.body


@pytest.mark.parametrize("name", ["a", "0", "a-b", "a_b", "a.b", "a" * 64, "minilm-384-to-96"])
def test_what_is_a_model_name_is_taken(server: RunningServer, name: str) -> None:
    create(server, name, MODELS["small"])
    assert server.http.delete(f"/models/{name}").status_code == 204
