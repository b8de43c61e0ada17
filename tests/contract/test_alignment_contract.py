"""The way from one version's space into another's, and what the answer says that it is worth."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from safetensors.numpy import load as load_tensors
from safetensors.numpy import load_file, save

from app.client import AsyncClient, Client
from app.errors import Conflict, NotFound
from app.types import Alignment
from tests.contract.wire import JSON, NPY, SAFETENSORS, Array
from tests.problem import assert_canonical
from tests.server import Config, RunningServer, create, declare, serving

WIDTH, K, STEPS, ROWS = 24, 8, 320, 8
MIDDLE, NEWEST = 101, STEPS + 1
LAYER = {"type": "QRReduction", "n_components": K}
DISTIL = {
    "input_size": WIDTH,
    "layers": [LAYER],
    "recipe": "distil",
    "distil": {"warm_up": 640, "rehearsed": 0},
    "gate": {"every": 1000},
}
PLAIN = {"input_size": WIDTH, "recipe": "plain", "loss": "similarity", "observe": True}
STACK = {**PLAIN, "layers": [{"type": "LayerNorm"}, LAYER]}
BIASED = {**PLAIN, "layers": [{**LAYER, "bias": True}]}
MAPS = {**PLAIN, "layers": [LAYER, {"type": "Unflatten", "dim": 1, "unflattened_size": [2, 4]}]}
SAMPLED = 0.03  # an answer is of 512 queries


def stream() -> Array:
    """Vectors around 40 directions, of which a few components matter most."""
    random = np.random.default_rng(11)
    centres = random.standard_normal((40, WIDTH)) * np.linspace(2, 0.2, WIDTH)
    noise = random.standard_normal((STEPS * ROWS, WIDTH)) * np.linspace(0.6, 0.1, WIDTH)
    return (centres[random.integers(40, size=STEPS * ROWS)] + noise).astype(np.float32)


VECTORS = stream()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder: Path = tmp_path_factory.mktemp("alignments")
    with serving(folder, default_model="news", quality_every_s=0) as running:
        create(running, "news", DISTIL)
        create(running, "forgetful", declare(WIDTH, K))
        create(running, "maps", MAPS)
        batches = np.split(VECTORS, STEPS)
        with Client(running.url, "news") as client:
            list(client.train_stream(batches[: MIDDLE - 1]))
            client.checkpoint()
            list(client.train_stream(batches[MIDDLE - 1 :]))
        yield running


def align(server: RunningServer, model: str, version: int, to: object) -> dict[str, Any]:
    answer = ask(server, model, version, to)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def ask(
    server: RunningServer, model: str, version: object, to: object, **headers: str
) -> httpx.Response:
    path = f"/models/{model}/versions/{version}/alignment"
    return server.http.get(path, params={"to": str(to)}, headers=headers)


def reduced(server: RunningServer, version: int, model: str = "news") -> Array:
    with Client(server.url, model) as client:
        return client.reduce(VECTORS, version=version).array


def units(rows: Array) -> Array:
    found: Array = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return found


def nearest(queries: Array, corpus: Array) -> Array:
    cosines = units(queries) @ units(corpus).T
    np.fill_diagonal(cosines, -2)
    return np.argpartition(-cosines, 10, axis=1)[:, :10]


def figures(queries: Array, corpus: Array, kept: Array) -> tuple[float, float]:
    """Mean cosine and nn10 of the remembered vectors, by plain numpy over every query."""
    queries, corpus, full = queries[kept], corpus[kept], VECTORS[kept]
    lists = zip(nearest(queries, corpus), nearest(full, full), strict=True)
    shares = [len(np.intersect1d(found, wanted)) / 10 for found, wanted in lists]
    return float((units(queries) * units(corpus)).sum(axis=1).mean()), float(np.mean(shares))


# Every 20th vector is held out, and no model remembers it.
REMEMBERED = np.flatnonzero(np.arange(1, len(VECTORS) + 1) % 20)


@pytest.mark.parametrize("version", [1, MIDDLE])
def test_the_figures_are_those_of_a_corpus_by_the_old_version_and_queries_by_the_newest(
    server: RunningServer, version: int
) -> None:
    found = align(server, "news", NEWEST, version)
    queries, corpus = reduced(server, NEWEST), reduced(server, version)
    raw = figures(queries, corpus, REMEMBERED)
    turned = figures(queries @ np.array(found["rotation"], np.float32), corpus, REMEMBERED)
    own = figures(corpus, corpus, REMEMBERED)[1]
    assert (found["aligned_by"], found["vectors"]) == ("moments", len(REMEMBERED))
    assert (found["cosine"], found["cosine_aligned"]) == pytest.approx(
        (raw[0], turned[0]), abs=1e-3
    )
    told = (found["nn10"], found["nn10_aligned"], found["nn10_own"])
    assert told == pytest.approx((raw[1], turned[1], own), abs=SAMPLED)


def test_from_a_random_start_the_way_back_finds_what_raw_vectors_do_not(
    server: RunningServer,
) -> None:
    found = align(server, "news", NEWEST, 1)
    assert found["nn10"] < found["nn10_aligned"] / 2
    assert found["cosine"] < found["cosine_aligned"] - 0.1


def test_a_stored_corpus_of_the_recipe_stays_good(server: RunningServer) -> None:
    found = align(server, "news", NEWEST, MIDDLE)
    assert found["cosine"] > 0.98
    assert found["nn10"] > 0.9 * found["nn10_own"]


def rotate(server: RunningServer, model: str, config: Config) -> tuple[int, Array]:
    """A version on disk, and R such that the next version's outputs are its own times R."""
    create(server, model, config)
    with Client(server.url, model) as client:
        client.train_step(VECTORS[:400])
        version = client.checkpoint()
    rotation = np.linalg.qr(np.random.default_rng(5).standard_normal((K, K)))[0].astype(np.float32)
    old = load_file(server.models_dir / model / str(version) / "model.safetensors")
    new = {n: rotation.T @ array if len(array) == K else array for n, array in old.items()}
    headers = {"content-type": SAFETENSORS, "if-match": "*"}
    server.http.put(f"/models/{model}", content=save(new), headers=headers).raise_for_status()
    return version, rotation


@pytest.mark.parametrize(
    ("model", "config", "aligned_by"),
    [
        ("one", DISTIL, "moments"),
        ("stack", STACK, "reservoir"),
        ("biased", BIASED, "reservoir"),
    ],
)
def test_a_version_that_was_only_rotated_is_turned_back_exactly(
    server: RunningServer, model: str, config: Config, aligned_by: str
) -> None:
    version, rotation = rotate(server, model, config)
    found = align(server, model, version + 1, version)
    # float32 weights and outputs; the moment is float64.
    np.testing.assert_allclose(found["rotation"], rotation.T, atol=1e-4)
    assert (found["aligned_by"], found["cosine_aligned"]) == (
        aligned_by,
        pytest.approx(1, abs=1e-5),
    )
    assert found["nn10_aligned"] == pytest.approx(found["nn10_own"], abs=1e-3)  # ties
    assert (abs(found["cosine"]) < 0.5, found["nn10"] < 0.05) == (True, True)
    there = align(server, model, version, version + 1)
    np.testing.assert_allclose(there["rotation"], rotation, atol=1e-4)


def test_a_version_and_itself_are_one_space(server: RunningServer) -> None:
    found = align(server, "news", NEWEST, NEWEST)
    np.testing.assert_allclose(found["rotation"], np.eye(K), atol=1e-6)
    assert (found["cosine"], found["cosine_aligned"]) == pytest.approx((1, 1), abs=1e-6)
    assert found["nn10"] == found["nn10_own"]


@pytest.mark.parametrize("media_type", [JSON, NPY, SAFETENSORS])
def test_the_map_comes_in_the_form_that_accept_names(
    server: RunningServer, media_type: str
) -> None:
    answer = ask(server, "news", 1, MIDDLE, accept=media_type).raise_for_status()
    told, stamps = align(server, "news", 1, MIDDLE), answer.headers
    assert stamps["content-type"] == media_type
    assert (stamps["model-name"], stamps["model-version"]) == ("news", "1")
    assert (stamps["aligned-to-version"], stamps["aligned-to-digest"]) == (
        str(MIDDLE),
        told["to_digest"],
    )
    np.testing.assert_array_equal(rotation_of(answer), np.array(told["rotation"], np.float32))


def rotation_of(answer: httpx.Response) -> Array:
    match answer.headers["content-type"]:
        case "application/x-npy":
            array: Array = np.load(io.BytesIO(answer.content))
            return array
        case "application/x-safetensors":
            return load_tensors(answer.content)["rotation"]
    return np.array(answer.json()["rotation"], np.float32)


def test_live_is_the_newest_that_passes_the_gate(server: RunningServer) -> None:
    served = server.http.post("/reduce", json={"hidden_states": [[1.0] * WIDTH]}).json()
    assert align(server, "news", 1, "live")["to_digest"] == served["digest"]


def test_nothing_changes(server: RunningServer) -> None:
    before = server.http.get("/models/news/state").json()
    align(server, "news", 1, MIDDLE)
    assert server.http.get("/models/news/state").json() == before


@pytest.mark.parametrize(
    ("model", "version", "query", "status", "code"),
    [
        ("news", "1", "", 422, "missing_field"),
        ("news", "1", "?to=", 422, "wrong_type"),
        ("news", "1", "?to=0", 422, "out_of_range"),
        ("news", "1", "?to=1&to=1", 400, "duplicate_key"),
        ("news", "1", "?to=1&form=npy", 422, "unknown_field"),
        ("news", "one", "?to=1", 422, "wrong_type"),
        ("news", "1", "?to=77", 404, "version_not_retained"),
        ("news", "77", "?to=1", 404, "version_not_retained"),
        ("none", "1", "?to=1", 404, "model_not_found"),
        ("forgetful", "1", "?to=1", 409, "nothing_remembered"),
        ("maps", "1", "?to=1", 422, "vectors_only"),
    ],
)
def test_what_cannot_be_aligned_is_refused(
    server: RunningServer, model: str, version: str, query: str, status: int, code: str
) -> None:
    answer = server.http.get(f"/models/{model}/versions/{version}/alignment{query}")
    assert_canonical(answer, status, code)


def test_an_accept_that_allows_no_form_is_refused(server: RunningServer) -> None:
    assert_canonical(ask(server, "news", 1, 1, accept="text/html"), 406, "not_acceptable")


@pytest.mark.parametrize(("rows", "is_enough"), [(31, False), (32, True)])
def test_few_vectors_say_nothing(server: RunningServer, rows: int, is_enough: bool) -> None:
    create(server, f"few-{rows}", {**PLAIN, "layers": [LAYER]})
    with Client(server.url, f"few-{rows}") as client:
        client.train_step(VECTORS[:rows])
    answer = ask(server, f"few-{rows}", 2, 1)
    if is_enough:
        assert answer.json()["vectors"] == rows
    else:
        assert_canonical(answer, 409, "nothing_remembered", detail="train steps first")


def test_both_clients_have_it(server: RunningServer) -> None:
    async def asked() -> Alignment:
        async with AsyncClient(server.url, "news") as client:
            return await client.alignment(MIDDLE)

    with Client(server.url, "news") as client:
        found = client.alignment(NEWEST, 1)
        assert found.to == client.reduce(VECTORS[:1], version=1).stamp
        assert found.stamp == client.reduce(VECTORS[:1], version=NEWEST).stamp
        assert asyncio.run(asked()).to == client.reduce(VECTORS[:1], version="live").stamp
        with pytest.raises(NotFound):
            client.alignment(77, 1)
    told = align(server, "news", NEWEST, 1)
    np.testing.assert_array_equal(found.rotation, np.array(told["rotation"], np.float32))
    assert (found.cosine, found.nn10_own) == (told["cosine"], told["nn10_own"])


def test_a_client_is_told_that_a_model_remembers_nothing(server: RunningServer) -> None:
    with Client(server.url, "forgetful") as client, pytest.raises(Conflict, match="observe"):
        client.alignment(1, 1)
