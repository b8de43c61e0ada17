"""POST /evaluate and POST /jvp: numbers of one version, and nothing changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load, save

from app.client import Client
from tests.contract.wire import JSON, NPY, SAFETENSORS, Array, some_rows, weights
from tests.server import RunningServer, create, declare, serving

PLAIN = {"recipe": "plain"}
ROWS = some_rows(32, 8)
POSITIVES = ROWS + 0.1 * np.cos(5 * ROWS)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder: Path = tmp_path_factory.mktemp("looks")
    with serving(folder, default_model="small") as running:
        create(running, "small", declare(8, 3, **PLAIN))
        create(running, "other", declare(8, 3, **PLAIN, loss="mse", frozen=True))
        yield running


def look(server: RunningServer, verb: str = "evaluate", **body: Any) -> Any:
    listed = {n: v.tolist() if isinstance(v, np.ndarray) else v for n, v in body.items()}
    answer = server.http.post(f"/models/small/{verb}", json=listed)
    assert answer.status_code == 200, answer.text
    return answer.json()


def kept(full: Array, reduced: Array) -> float:
    """The mean share of the ten nearest other rows that stay so, by plain loops."""
    shares = []
    for i in range(len(full)):
        lists = []
        for rows in (full, reduced):
            units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
            cosines = units @ units[i]
            cosines[i] = -2
            lists.append(set(np.argsort(-cosines)[:10]))
        shares.append(len(lists[0] & lists[1]) / 10)
    return float(np.mean(shares))


def test_metrics_are_those_of_the_weights_on_the_rows(server: RunningServer) -> None:
    weight = weights(server, "small")
    found = look(server, hidden_states=ROWS)
    units = ROWS / np.linalg.norm(ROWS, axis=1, keepdims=True)
    energy = np.square(units @ weight.T).sum() / len(ROWS)  # the rows of Q are orthonormal
    assert found["rows"] == 32
    assert set(found["metrics"]) == {
        *("nn10", "nn10_low", "nn10_high", "rho", "explained_variance", "orthonormality_error"),
        *("sensitivity", "bytes_a_vector", "gigabytes_a_million"),
    }
    assert found["metrics"]["nn10"] == pytest.approx(kept(ROWS, ROWS @ weight.T))
    assert found["metrics"]["explained_variance"] == pytest.approx(energy, rel=1e-5)
    assert found["metrics"]["orthonormality_error"] < 1e-5
    assert 0 < found["metrics"]["sensitivity"] < 1  # a projection moves nothing farther


def test_positives_are_the_corpus(server: RunningServer) -> None:
    weight = weights(server, "small")
    found = look(server, hidden_states=ROWS, positives=POSITIVES)["metrics"]
    queries, docs = ROWS @ weight.T, POSITIVES @ weight.T
    cosines = (queries / np.linalg.norm(queries, axis=1, keepdims=True)) @ (
        docs / np.linalg.norm(docs, axis=1, keepdims=True)
    ).T
    ranks = (cosines >= cosines.diagonal()[:, None]).sum(axis=1)
    assert found["mrr"] == pytest.approx((1 / ranks).mean())
    assert (found["r1"], found["r10"]) == pytest.approx(((ranks == 1).mean(), (ranks < 11).mean()))


def test_losses_are_the_configs_or_those_that_are_named(server: RunningServer) -> None:
    step = server.http.post(
        "/models/small/train-step", json={"hidden_states": ROWS.tolist(), "loss": "distil"}
    ).json()
    before = look(server, hidden_states=ROWS, loss="distil", version=1)
    assert before["losses"]["distil"] == pytest.approx(step["loss"], rel=1e-5)
    assert list(look(server, hidden_states=ROWS)["losses"]) == ["similarity"]
    named = look(
        server, hidden_states=ROWS, positives=POSITIVES, loss=["distil", {"type": "contrastive"}]
    )
    assert list(named["losses"]) == ["distil", "contrastive"]


def test_a_model_whose_loss_asks_for_more_is_measured_all_the_same(server: RunningServer) -> None:
    answer = server.http.post("/models/other/evaluate", json={"hidden_states": ROWS.tolist()})
    assert (answer.status_code, answer.json()["losses"]) == (200, {})
    assert answer.json()["metrics"]["nn10"] > 0


def test_each_version_is_measured_by_its_own_weights(server: RunningServer) -> None:
    server.http.post("/models/small/versions")
    first = look(server, hidden_states=ROWS, version=1)
    server.http.post("/models/small/train-step", json={"hidden_states": ROWS.tolist()})
    newest = look(server, hidden_states=ROWS, version="live")
    assert look(server, hidden_states=ROWS, version=1) == first
    assert newest["version"] > 1
    assert newest["losses"] != first["losses"]


def test_a_look_changes_nothing(server: RunningServer) -> None:
    def stand() -> tuple[Any, Any]:
        described = server.http.get("/models/small").json()
        return server.http.get("/models/small/state").json(), described["counters"]

    before = stand()
    look(server, hidden_states=ROWS, positives=POSITIVES, loss=["distil", "contrastive"])
    look(server, "jvp", hidden_states=ROWS, tangents=POSITIVES)
    assert stand() == before


def test_a_safetensors_body_says_the_same(server: RunningServer) -> None:
    tensors: dict[str, Any] = {"hidden_states": ROWS, "labels": np.arange(32) % 3}
    binary = server.http.post(
        "/models/small/evaluate?loss=cross_entropy,similarity&version=1",
        content=save(tensors),
        headers={"content-type": SAFETENSORS},
    )
    text = look(server, **tensors, loss=["cross_entropy", "similarity"], version=1)
    assert binary.headers["content-type"] == JSON
    assert binary.headers["model-version"] == "1"
    assert binary.json() == text


def test_given_tangents_are_the_directions_of_the_sensitivity(server: RunningServer) -> None:
    weight = weights(server, "small")
    along = look(server, hidden_states=ROWS, tangents=np.tile(weight[0], (32, 1)), version=1)
    assert along["metrics"]["sensitivity"] == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("accept", [JSON, SAFETENSORS, None])
@pytest.mark.parametrize("shape", [(8,), (5, 8), (2, 3, 8)], ids=str)
def test_the_derivative_of_a_matrix_is_the_matrix(
    server: RunningServer, shape: tuple[int, ...], accept: str | None
) -> None:
    rows, tangents = some_rows(*shape), np.cos(some_rows(*shape))
    headers = {"content-type": SAFETENSORS, **({"accept": accept} if accept else {})}
    body = save({"hidden_states": rows, "tangents": tangents})
    answer = server.http.post("/models/small/jvp?version=1", content=body, headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == (accept or SAFETENSORS)
    is_json = accept == JSON
    arrays = answer.json() if is_json else load(answer.content)
    weight = weights(server, "small")
    # float32 sums in another order
    np.testing.assert_allclose(arrays["reduced"], rows @ weight.T, atol=5e-6)
    np.testing.assert_allclose(arrays["derivative"], tangents @ weight.T, atol=5e-6)


def test_short_paths_mean_the_default_model(server: RunningServer) -> None:
    for verb in ("evaluate", "jvp"):
        body = {"hidden_states": ROWS.tolist(), "tangents": ROWS.tolist()}
        answer = server.http.post(f"/{verb}", json=body)
        assert answer.headers["model-name"] == "small"


@pytest.mark.parametrize(
    ("verb", "body", "status", "code", "pointer"),
    [
        ("evaluate", {}, 422, "missing_field", "/hidden_states"),
        ("evaluate", {"hidden_states": [[1.0]]}, 422, "shape_mismatch", "/hidden_states"),
        ("evaluate", {"version": 99}, 404, "version_not_retained", None),
        ("evaluate", {"version": "newest"}, 422, "wrong_type", "/version"),
        ("evaluate", {"loss": "msee"}, 422, "config_invalid", "/loss/type"),
        ("evaluate", {"loss": ["distil", "msee"]}, 422, "config_invalid", "/loss/1/type"),
        ("evaluate", {"loss": ["distil", "distil"]}, 422, "config_invalid", "/loss/1/type"),
        ("evaluate", {"loss": []}, 422, "config_invalid", "/loss"),
        ("evaluate", {"loss": ["distil", 7]}, 422, "config_invalid", "/loss/1"),
        ("evaluate", {"loss": "mse"}, 422, "missing_field", "/targets"),
        ("evaluate", {"labels": [0] * 32}, 422, "field_not_used", "/labels"),
        ("evaluate", {"positives": [[1.0] * 8]}, 422, "shape_mismatch", "/positives"),
        ("evaluate", {"tangents": [[1.0] * 8]}, 422, "shape_mismatch", "/tangents"),
        ("evaluate", {"branch": "left"}, 422, "unknown_branch", "/branch"),
        ("evaluate", {"mask": [1.0] * 32}, 422, "field_not_used", "/mask"),
        ("evaluate", {"key": "k"}, 422, "unknown_field", None),
        ("jvp", {}, 422, "missing_field", "/tangents"),
        ("jvp", {"tangents": [[1.0] * 8]}, 422, "shape_mismatch", "/tangents"),
        ("jvp", {"tangents": ROWS[:, :7].tolist()}, 422, "shape_mismatch", "/tangents"),
        ("jvp", {"tangents": ROWS.tolist(), "version": 99}, 404, "version_not_retained", None),
        ("jvp", {"tangents": ROWS.tolist(), "targets": [[1.0]]}, 422, "unknown_field", None),
    ],
)
def test_what_cannot_be_looked_at_is_refused(
    server: RunningServer, verb: str, body: dict[str, Any], status: int, code: str, pointer: str
) -> None:
    sent = body if not body and verb == "evaluate" else {"hidden_states": ROWS.tolist(), **body}
    answer = server.http.post(f"/models/small/{verb}", json=sent)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code), problem
    if pointer is not None:
        assert [fault["pointer"] for fault in problem["errors"]] == [pointer]


def test_a_derivative_that_overflows_is_refused(server: RunningServer) -> None:
    tangents = np.tile(np.sign(weights(server, "small")[0]), (32, 1)) * 3.4e38
    body = {"hidden_states": ROWS.tolist(), "tangents": tangents.tolist()}
    answer = server.http.post("/models/small/jvp?", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "non_finite_output")


@pytest.mark.parametrize("verb", ["evaluate", "jvp"])
def test_npy_holds_no_batch(server: RunningServer, verb: str) -> None:
    answer = server.http.post(f"/models/small/{verb}", content=b"x", headers={"content-type": NPY})
    assert answer.status_code == 415


def test_the_client_asks_both(server: RunningServer) -> None:
    with Client(str(server.http.base_url), "small") as client:
        found = client.evaluate(
            ROWS,
            positives=POSITIVES,
            labels=np.arange(32) % 3,
            version=1,
            loss=["contrastive", "cross_entropy"],
        )
        derivative = client.jvp(ROWS, POSITIVES, version=1)
    assert (found.version, found.rows, list(found.losses)) == (
        1,
        32,
        ["contrastive", "cross_entropy"],
    )
    assert found.metrics["mrr"] > 0
    np.testing.assert_allclose(
        derivative.derivative, POSITIVES @ weights(server, "small").T, atol=5e-6
    )
