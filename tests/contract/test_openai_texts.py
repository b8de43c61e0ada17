"""POST /v1/embeddings with texts: embedded by a real upstream, and reduced."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from fastapi.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response

from app.access import KeyScope
from tests.api_keys import add_key
from tests.conftest import MODELS
from tests.contract.openai_wire import assert_refused, embed, vectors_of
from tests.contract.wire import reduced_of
from tests.problem import assert_canonical
from tests.server import RunningServer, create, serving
from tests.upstream import FakeUpstream, Misbehave, upstream
from tests.upstream import embed as embedding_of

TEXTS = ["one", "two", "three", "four", "five"]
KEY = "sk-of-the-upstream"


@contextmanager
def served(models_dir: Path, fake: FakeUpstream, **settings: Any) -> Iterator[RunningServer]:
    given = {"upstream_url": fake.url, "upstream_key": KEY, "upstream_model": "ask-for-this"}
    with serving(models_dir, **given | settings) as running:
        if not (models_dir / "small").exists():
            create(running, "small", MODELS["small"])
            create(running, "nested", MODELS["nested"])
        yield running


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeUpstream]:
    with upstream() as running:
        yield running


@pytest.fixture(scope="module")
def server(fake: FakeUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    models_dir = tmp_path_factory.mktemp("models")
    with served(models_dir, fake, upstream_batch=2, upstream_timeout_s=5.0) as running:
        yield running


@pytest.fixture(autouse=True)
def _well_behaved(fake: FakeUpstream) -> None:
    fake.misbehave, fake.is_base64, fake.width = (lambda _: None), True, 8
    fake.batches.clear()
    fake.headers.clear()
    fake.most_at_once = 0


def small_vectors(server: RunningServer, texts: list[Any]) -> bytes:
    rows = [embedding_of(text, 8).tolist() for text in texts]
    body = {"hidden_states": rows, "normalize": True}
    return reduced_of(server.http.post("/models/small/reduce", json=body)).tobytes()


@pytest.mark.parametrize("is_base64", [True, False])
def test_texts_are_embedded_in_batches_and_reduced_in_order(
    server: RunningServer, fake: FakeUpstream, is_base64: bool
) -> None:
    fake.is_base64 = is_base64
    answer = embed(server, input=TEXTS)
    assert vectors_of(answer).tobytes() == small_vectors(server, TEXTS)
    assert sorted(len(batch["input"]) for batch in fake.batches) == [1, 2, 2]
    assert answer.json()["usage"] == {"prompt_tokens": 15, "total_tokens": 15}
    assert answer.json()["model"] == "tiny-embedder+small@1"


def test_batches_are_asked_at_once_but_only_a_few(
    server: RunningServer, fake: FakeUpstream
) -> None:
    assert vectors_of(embed(server, input=["x"] * 40)).shape == (40, 3)
    assert len(fake.batches) == 20
    assert 2 <= fake.most_at_once <= 4


@pytest.mark.parametrize("tokens", [[[1, 2], [3]], [[1, 2, 3]]])
def test_tokens_are_for_the_upstream(
    server: RunningServer, fake: FakeUpstream, tokens: list[list[int]]
) -> None:
    answer = embed(server, input=tokens if len(tokens) > 1 else tokens[0])
    assert vectors_of(answer).tobytes() == small_vectors(server, tokens)
    assert fake.batches[0]["input"] == tokens


def test_the_upstream_gets_its_own_key_and_only_what_is_meant_for_it(
    server: RunningServer, fake: FakeUpstream
) -> None:
    body = {"input": "x", "user": "u", "input_type": "query", "dimensions": 3, "truncate": "END"}
    headers = {"authorization": "Bearer of-the-caller", "cookie": "a=b"}
    server.http.post("/v1/embeddings", json=body, headers=headers).raise_for_status()
    asked = {"input": ["x"], "encoding_format": "base64", "model": "ask-for-this"}
    assert fake.batches == [{**asked, "user": "u", "input_type": "query"}]
    assert fake.headers[0]["authorization"] == f"Bearer {KEY}"
    assert not {"cookie", "x-forwarded-for"} & fake.headers[0].keys()


def test_the_name_of_the_upstreams_model_means_the_default_one(server: RunningServer) -> None:
    answer = embed(server, model="ask-for-this", input="x")
    assert answer.json()["model"] == "tiny-embedder+small@1"


def test_the_model_of_an_answer_may_be_asked_for_again(server: RunningServer) -> None:
    first = embed(server, input="x")
    again = embed(server, model=first.json()["model"], input="x")
    assert again.json() == first.json()
    other = embed(server, model="another+small@1", input="x")
    assert_refused(other, 409, "upstream_changed", says="asks for vectors")


def test_the_model_of_an_answer_may_be_looked_at_with_a_slash_in_it_too(
    server: RunningServer, fake: FakeUpstream
) -> None:
    with renamed(fake, "an-organisation/tiny-embedder"):
        name = embed(server, model="nested", input="x").json()["model"]
        assert name == "an-organisation/tiny-embedder+nested@1"
        for written in (name, quote(name, safe="")):
            found = server.http.get(f"/v1/models/{written}")
            assert (found.status_code, found.json()["id"]) == (200, name)
    assert_refused(server.http.get("/v1/models/a/b"), 404, "model_not_found", param="model")


@contextmanager
def renamed(fake: FakeUpstream, name: str) -> Iterator[None]:
    before, fake.name = fake.name, name
    try:
        yield
    finally:
        fake.name = before


def test_float_and_base64_are_equal_bit_for_bit(server: RunningServer) -> None:
    floats, octets = (
        embed(server, input=TEXTS, encoding_format=form) for form in ("float", "base64")
    )
    assert vectors_of(octets).tobytes() == vectors_of(floats).tobytes()


def refusing(status: int, **headers: str) -> Misbehave:
    secret = {"error": {"message": f"bad key {KEY}", "code": "context_length_exceeded"}}
    return lambda _: JSONResponse(secret, status, headers)


def instead(**fields: Any) -> Misbehave:
    return lambda _: fields


def item(embedding: Any, index: int = 0) -> dict[str, Any]:
    return {"object": "embedding", "index": index, "embedding": embedding}


MALFORMED: dict[str, Misbehave] = {
    "no JSON": lambda _: PlainTextResponse("<html>"),
    "nothing": lambda _: Response(),
    "a list": lambda _: JSONResponse([]),
    "no model": instead(model=None),
    "a model that no header can hold": instead(model="a\r\nb: c"),
    "an endless model": instead(model="m" * 257),
    "no data": instead(data=None),
    "too few": instead(data=[]),
    "too many": instead(data=[item([1.0] * 8), item([1.0] * 8, 1)]),
    "another index": instead(data=[item([1.0] * 8, 5)]),
    "no base64": instead(data=[item("!!!!")]),
    "half a number": instead(data=[item("AAAA")]),
    "no numbers": instead(data=[item([])]),
    "texts": instead(data=[item(["1"] * 8)]),
    "not a number": instead(data=[item("AADAfwAAwH8AAMB/AADAfwAAwH8AAMB/AADAfwAAwH8=")]),
    "a number too large": instead(data=[item([1e39] * 8)]),
    "an endless answer": instead(padding="x" * 200_000),
    "a bomb": lambda _: Response(b"\x1f\x8b", headers={"content-encoding": "gzip"}),
}


@pytest.mark.parametrize("misbehave", MALFORMED.values(), ids=MALFORMED)
def test_garbage_is_refused_and_blamed_on_the_upstream(
    server: RunningServer, fake: FakeUpstream, misbehave: Misbehave
) -> None:
    fake.misbehave = misbehave
    assert_refused(embed(server, input="x"), 502, "upstream_malformed")


@pytest.mark.parametrize(
    ("misbehave", "status", "code", "param"),
    [
        (refusing(429, **{"retry-after": "7"}), 429, "upstream_busy", None),
        (refusing(503, **{"retry-after": "7"}), 503, "upstream_unavailable", None),
        (refusing(400), 400, "upstream_refused", "input"),
        (refusing(413), 400, "upstream_refused", "input"),
        (refusing(422), 400, "upstream_refused", "input"),
        (refusing(401), 502, "upstream_unauthorized", None),
        (refusing(403), 502, "upstream_unauthorized", None),
        (refusing(404), 502, "upstream_failed", None),
        (refusing(500), 502, "upstream_failed", None),
        (lambda _: RedirectResponse("http://127.0.0.1:1/"), 502, "upstream_failed", None),
    ],
)  # fmt: skip
def test_a_refusal_of_the_upstream_is_told_in_our_words_and_asked_once(
    server: RunningServer, fake: FakeUpstream, misbehave: Misbehave,
    status: int, code: str, param: str | None,
) -> None:  # fmt: skip
    fake.misbehave = misbehave
    answer = embed(server, input="x")
    assert_refused(answer, status, code, param=param)
    assert KEY not in answer.text
    assert len(fake.batches) == 1
    assert ("context_length_exceeded" in answer.text) == (code == "upstream_refused")
    if status in (429, 503):
        assert answer.headers["retry-after"] == "7"


@pytest.mark.parametrize("code", ["the text 'x' is too long", "", 7, None, ["x"], "x" * 65])
def test_only_a_machine_word_of_a_refusal_is_passed_on(
    server: RunningServer, fake: FakeUpstream, code: object
) -> None:
    fake.misbehave = lambda _: JSONResponse({"error": {"code": code}}, 400)
    refused = embed(server, input="x")
    assert_refused(refused, 400, "upstream_refused", param="input", says="with status 400;")


@pytest.mark.parametrize(
    ("asked", "told"),
    [("0.2", "1"), ("86400", "3600"), ("-1", "1"), ("nan", "1"), ("inf", "1"), ("soon", "1")],
)
def test_a_pause_of_the_upstream_is_told_in_whole_seconds_within_reason(
    server: RunningServer, fake: FakeUpstream, asked: str, told: str
) -> None:
    fake.misbehave = refusing(429, **{"retry-after": asked})
    assert embed(server, input="x").headers["retry-after"] == told


def test_when_one_batch_fails_the_request_does(server: RunningServer, fake: FakeUpstream) -> None:
    fake.misbehave = lambda asked: Response(status_code=500) if "three" in asked["input"] else None
    assert_refused(embed(server, input=TEXTS), 502, "upstream_failed")


def test_batches_of_several_models_are_never_mixed(
    server: RunningServer, fake: FakeUpstream
) -> None:
    fake.misbehave = lambda asked: {"model": "other"} if "three" in asked["input"] else None
    answer = embed(server, input=TEXTS)
    assert_refused(answer, 502, "upstream_malformed", says="several models")


def test_embeddings_of_another_width_are_refused(server: RunningServer, fake: FakeUpstream) -> None:
    fake.width = 9
    answer = embed(server, input="x")
    assert_refused(
        answer, 409, "upstream_width", says="have 9 numbers, and model 'small' reduces 8"
    )


def test_a_failing_upstream_leaves_us_ready_and_is_counted(
    server: RunningServer, fake: FakeUpstream
) -> None:
    fake.misbehave = refusing(500)
    embed(server, input="x")
    assert server.http.get("/health/ready").status_code == 200
    assert vectors_of(embed(server, input=[0.5] * 8)).shape == (1, 3)
    counted = server.http.get("/metrics").text
    assert 'slimvec_upstream_requests_total{outcome="upstream_failed"}' in counted
    assert "slimvec_upstream_request_seconds_count" in counted


def test_an_upstream_that_is_not_there_is_said_to_be(tmp_path: Path) -> None:
    gone = FakeUpstream(url="http://127.0.0.1:1/v1")
    with served(tmp_path, gone) as server:
        assert_refused(embed(server, input="x"), 502, "upstream_unreachable")
        assert server.http.get("/health/ready").status_code == 200


def test_a_slow_upstream_is_given_up(tmp_path: Path) -> None:
    with upstream() as fake, served(tmp_path, fake, upstream_timeout_s=0.05) as server:
        fake.pause_s = 30.0
        assert_refused(embed(server, input="x"), 502, "upstream_timeout")


def test_the_first_upstream_is_kept_and_another_one_waits_for_the_operator(tmp_path: Path) -> None:
    with upstream() as fake:
        with served(tmp_path, fake) as server:
            assert server.http.get("/models/small/upstream").json() == {"model": None}
            vectors_of(embed(server, input="x"))
            fake.name = "another"
        with served(tmp_path, fake) as server:
            refused = embed(server, input="x")
            assert_refused(refused, 409, "upstream_changed", says="'tiny-embedder'")
            assert vectors_of(embed(server, input=[0.5] * 8)).shape == (1, 3)
            answer = server.http.put("/models/small/upstream", json={"model": "another"})
            assert answer.json() == {"model": "another"}
        with served(tmp_path, fake) as server:
            assert server.http.get("/models/small/upstream").json() == {"model": "another"}
            assert embed(server, input="x").json()["model"] == "another+small@1"


def test_an_upstream_of_another_width_is_not_kept(tmp_path: Path) -> None:
    with upstream(width=9) as fake, served(tmp_path, fake) as server:
        assert embed(server, input="x").status_code == 409
        assert server.http.get("/models/small/upstream").json() == {"model": None}


def test_the_upstream_goes_with_the_model(tmp_path: Path) -> None:
    with upstream() as fake, served(tmp_path, fake) as server:
        vectors_of(embed(server, input="x"))
        server.http.delete("/models/small").raise_for_status()
        create(server, "small", MODELS["small"])
        assert server.http.get("/models/small/upstream").json() == {"model": None}


@pytest.mark.parametrize("content", [b"{", b"[]", b"{}", b'{"model": 1}', b"", b"x" * 5000])
def test_a_damaged_note_of_the_upstream_is_never_guessed(tmp_path: Path, content: bytes) -> None:
    with upstream() as fake, served(tmp_path, fake) as server:
        (tmp_path / "small" / "upstream.json").write_bytes(content)
        assert_refused(embed(server, input="x"), 409, "upstream_changed", says="damaged")
        server.http.put("/models/small/upstream", json={"model": fake.name}).raise_for_status()
        assert vectors_of(embed(server, input="x")).shape == (1, 3)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "missing_field"),
        ({"model": ""}, "out_of_range"),
        ({"model": "a\nb"}, "out_of_range"),
        ({"model": "m" * 257}, "out_of_range"),
        ({"model": 1}, "wrong_type"),
        ({"model": "m", "more": 1}, "unknown_field"),
    ],
)
def test_what_is_no_name_of_an_upstream_is_not_acknowledged(
    server: RunningServer, body: dict[str, Any], code: str
) -> None:
    assert_canonical(server.http.put("/models/small/upstream", json=body), 422, code)
    assert_canonical(server.http.get("/models/none/upstream"), 404, "model_not_found")


def test_a_setting_leaves_vectors_as_long_as_they_are(tmp_path: Path) -> None:
    with upstream() as fake, served(tmp_path, fake, openai_normalize=False) as server:
        plain = vectors_of(embed(server, input="x"))
        unit = vectors_of(embed(server, input="x", normalize=True))
        np.testing.assert_allclose(unit, plain / np.linalg.norm(plain), rtol=1e-6)
        assert abs(np.linalg.norm(plain) - 1) > 1e-3


def test_other_peoples_models_are_not_there(tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    text = add_key(keys, KeyScope.READ, ("small",))
    with upstream() as fake, served(tmp_path / "models", fake) as server:
        create(server, "hidden", MODELS["small"])
    with upstream() as fake, served(tmp_path / "models", fake, keys_file=keys) as server:
        assert_refused(embed(server, input="x"), 401, "api_key_missing")
        server.http.headers["authorization"] = f"Bearer {text}"
        assert embed(server, input="x").status_code == 200
        names = [model["id"] for model in server.http.get("/v1/models").json()["data"]]
        assert names == ["small", "small@1"]
        for name in ("hidden", "hidden@1", "nowhere"):
            assert_refused(
                embed(server, model=name, input="x"), 404, "model_not_found", param="model"
            )
            assert server.http.get(f"/v1/models/{name}").status_code == 404
        acknowledged = server.http.put("/models/small/upstream", json={"model": "other"})
        assert_canonical(acknowledged, 403, "insufficient_scope")
