"""Every vector is made by exactly one version of the weights, and says which."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
from safetensors.numpy import load_file

from app.types import FloatArray
from tests.e2e.conftest import DEMO
from tests.e2e.process import ServerProcess
from tests.e2e.requests import reduce, train

STEPS = 30
READERS = 3

# A float32 sum of 384 products in another order; measured below 1e-6 of the row's length.
RELATIVE = 1e-5


def assert_product(reduced: FloatArray, rows: FloatArray, weights: FloatArray) -> None:
    expected = rows.astype(np.float64) @ weights.astype(np.float64).T
    scale = np.linalg.norm(expected, axis=1, keepdims=True)
    assert np.abs(reduced - expected).max() <= RELATIVE * scale.max()


def test_1000_held_out_embeddings_equal_numpys_product(
    models_dir: Path, held_out: FloatArray
) -> None:
    weights = load_file(models_dir / DEMO / "1" / "model.safetensors")["Q_reduced"]
    with ServerProcess(models_dir) as server:
        binary, version = reduce(server.client, held_out)
        answer = server.client.post("/reduce", json={"hidden_states": held_out[:50].tolist()})
    assert version == 1
    assert_product(binary, held_out, weights)
    assert_product(np.array(answer.json()["reduced"], np.float32), held_out[:50], weights)


def test_readers_beside_the_trainer_get_whole_versions_in_order(
    models_dir: Path, held_out: FloatArray, stream: FloatArray
) -> None:
    # Every version is checkpointed, so that each answer can be held against its own weights.
    every_version = ("--checkpoint-every-steps", "1", "--retain-checkpoints", "1000")
    rows = held_out[:20]
    with ServerProcess(models_dir, *every_version) as server, ThreadPoolExecutor(READERS) as pool:
        training: Future[None] = Future()
        readers = [pool.submit(read_while, training, server, rows) for _ in range(READERS)]
        for _ in range(STEPS):
            train(server.client, hidden_states=stream)
            server.client.post(f"/models/{DEMO}/versions").raise_for_status()
        training.set_result(None)
        seen = [reader.result() for reader in readers]
    assert len({version for answers in seen for _, version in answers}) > 3
    for answers in seen:
        versions = [version for _, version in answers]
        assert versions == sorted(versions)
        for reduced, version in answers:
            weights = load_file(models_dir / DEMO / str(version) / "model.safetensors")
            assert_product(reduced, rows, weights["Q_reduced"])


def read_while(
    training: Future[None], server: ServerProcess, rows: FloatArray
) -> list[tuple[FloatArray, int]]:
    with httpx.Client(base_url=server.client.base_url) as client:
        answers = []
        while not training.done():
            answers.append(reduce(client, rows))
        return answers
