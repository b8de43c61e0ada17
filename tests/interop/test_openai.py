"""The unmodified `openai` client: vectors, and texts by way of a real embedding model."""

from __future__ import annotations

import asyncio
import shutil
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
from fastapi import Response
from numpy.typing import NDArray

from app.access import KeyScope
from tests.api_keys import add_key
from tests.conftest import MODELS
from tests.contract.wire import some_rows
from tests.interop.minilm import NAME, minilm
from tests.server import RunningServer, create, serving
from tests.upstream import FakeUpstream, upstream

pytestmark = pytest.mark.interop

REDUCER = "minilm-384-to-96"
TEXTS = ["A cat sits on the mat.", "A kitten rests on a rug.", "Interest rates rose again."]


def client_of(server: RunningServer, **given: Any) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="none-is-needed", **given)


def matrix(answer: openai.types.CreateEmbeddingResponse) -> NDArray[np.float32]:
    return np.array([item.embedding for item in answer.data], np.float32)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """The demo model behind the embeddings that it was trained for."""
    models, first = tmp_path_factory.mktemp("served") / "models", Path(REDUCER) / "1"
    shutil.copytree(Path(__file__).parents[2] / "models" / first, models / first)
    with (
        minilm() as url,
        serving(models, default_model=REDUCER, upstream_url=url, upstream_model=NAME) as running,
    ):
        create(running, "nested", MODELS["nested"])
        yield running


@pytest.fixture
def client(server: RunningServer) -> Iterator[openai.OpenAI]:
    with client_of(server) as opened:
        yield opened


@pytest.fixture
def fake() -> Iterator[FakeUpstream]:
    with upstream() as running:
        yield running


@pytest.fixture
def small(fake: FakeUpstream, tmp_path: Path) -> Iterator[RunningServer]:
    with serving(tmp_path, upstream_url=fake.url) as running:
        create(running, "small", MODELS["small"])
        yield running


@pytest.fixture
def small_client(small: RunningServer) -> Iterator[openai.OpenAI]:
    with client_of(small) as opened:
        yield opened


def test_vectors_come_back_reduced_whichever_encoding_the_client_chooses(
    client: openai.OpenAI,
) -> None:
    rows: Any = some_rows(20, 384).tolist()  # the client's types know of tokens only
    chosen_by_client = client.embeddings.create(model=REDUCER, input=rows)
    floats = client.embeddings.create(model=REDUCER, input=rows, encoding_format="float")
    assert matrix(floats).tobytes() == matrix(chosen_by_client).tobytes()
    assert matrix(floats).shape == (20, 96)
    np.testing.assert_allclose(np.linalg.norm(matrix(floats), axis=-1), 1, rtol=1e-5)


def test_texts_go_through_a_real_embedding_model(client: openai.OpenAI) -> None:
    answer = client.embeddings.create(model=NAME, input=TEXTS)
    cat, kitten, rates = matrix(answer)
    assert cat @ kitten > 0.5 > cat @ rates
    assert answer.model == f"{NAME}+{REDUCER}@1"
    assert answer.usage.prompt_tokens == answer.usage.total_tokens > len(TEXTS)
    assert [item.index for item in answer.data] == [0, 1, 2]
    assert (answer.model_extra or {})["version"] == 1  # the client keeps what it does not know


def test_texts_are_the_same_in_float_and_base64(client: openai.OpenAI) -> None:
    octets = client.embeddings.create(model=REDUCER, input=TEXTS, encoding_format="base64")
    floats = client.embeddings.create(model=REDUCER, input=TEXTS, encoding_format="float")
    decoded = [np.frombuffer(b64decode(str(item.embedding)), "<f4") for item in octets.data]
    assert np.stack(decoded).tobytes() == matrix(floats).tobytes()


def test_the_model_of_an_answer_is_a_model_to_ask_for(client: openai.OpenAI) -> None:
    first = client.embeddings.create(model=REDUCER, input="one text")
    again = client.embeddings.create(model=first.model, input="one text")
    assert matrix(again).tobytes() == matrix(first).tobytes()


def test_dimensions_is_a_prefix_of_a_nested_model(client: openai.OpenAI) -> None:
    rows: Any = some_rows(2, 8).tolist()
    answer = client.embeddings.create(model="nested", input=rows, dimensions=2)
    assert matrix(answer).shape == (2, 2)
    with pytest.raises(openai.BadRequestError, match="from 1 to 3"):
        client.embeddings.create(model="nested", input=rows, dimensions=4)


def test_models_are_listed_and_retrieved(client: openai.OpenAI) -> None:
    listed = {model.id: model for model in client.models.list()}
    assert {REDUCER, f"{REDUCER}@1", "nested", "nested@1"} <= listed.keys()
    assert client.models.retrieve(f"{REDUCER}@1") == listed[f"{REDUCER}@1"]


async def _embed(server: RunningServer) -> openai.types.CreateEmbeddingResponse:
    async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none") as client:
        return await client.embeddings.create(model=REDUCER, input=TEXTS)


def test_the_async_client_gets_the_same(server: RunningServer, client: openai.OpenAI) -> None:
    same = client.embeddings.create(model=REDUCER, input=TEXTS)
    assert matrix(asyncio.run(_embed(server))).tobytes() == matrix(same).tobytes()


def test_the_client_tries_again_when_the_upstream_is_busy(
    small_client: openai.OpenAI, fake: FakeUpstream
) -> None:
    fake.misbehave = lambda _: (
        Response(status_code=429, headers={"retry-after": "1"}) if len(fake.batches) == 1 else None
    )
    answer = small_client.embeddings.create(model="small", input="x")
    assert matrix(answer).shape == (1, 3)
    assert len(fake.batches) == 2


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"model": "ada"}, openai.NotFoundError),
        ({"encoding_format": "hex"}, openai.BadRequestError),
        ({"dimensions": 2}, openai.BadRequestError),
        ({"input": ""}, openai.BadRequestError),
    ],
)
def test_a_refusal_is_the_error_that_the_client_names_for_it(
    small_client: openai.OpenAI, asked: dict[str, Any], expected: type[openai.APIStatusError]
) -> None:
    with pytest.raises(expected) as raised:
        small_client.embeddings.create(**{"model": "small", "input": "x", **asked})
    assert raised.value.code
    assert raised.value.type == "invalid_request_error"


def test_a_changed_upstream_is_a_conflict_that_is_not_asked_again(
    small_client: openai.OpenAI, fake: FakeUpstream
) -> None:
    small_client.embeddings.create(model="small", input="x")
    fake.name = "another"
    with pytest.raises(openai.ConflictError) as raised:
        small_client.embeddings.create(model="small", input="x")
    assert raised.value.code == "upstream_changed"
    assert len(fake.batches) == 2


def test_what_stays_busy_is_a_rate_limit(small: RunningServer, fake: FakeUpstream) -> None:
    fake.misbehave = lambda _: Response(status_code=429)
    with client_of(small, max_retries=0) as client, pytest.raises(openai.RateLimitError):
        client.embeddings.create(model="small", input="x")


def test_a_missing_key_and_one_for_other_models_are_the_clients_errors(
    fake: FakeUpstream, tmp_path: Path
) -> None:
    keys = tmp_path / "keys.json"
    known = add_key(keys, KeyScope.READ, ("small",))
    with serving(tmp_path / "models", upstream_url=fake.url) as running:
        create(running, "small", MODELS["small"])
    rows: Any = [[0.5] * 8]
    with serving(tmp_path / "models", upstream_url=fake.url, keys_file=keys) as running:
        with client_of(running) as client, pytest.raises(openai.AuthenticationError):
            client.embeddings.create(model="small", input=rows)
        with openai.OpenAI(base_url=f"{running.url}/v1", api_key=known) as client:
            assert matrix(client.embeddings.create(model="small", input=rows)).shape == (1, 3)
