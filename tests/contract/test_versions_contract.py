"""Promote, roll back: which version is served, and where the trainer goes on."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import MODELS, ModelFactory, ServerFactory
from tests.contract.wire import encode, reduced_of, some_rows, weights
from tests.problem import assert_canonical
from tests.server import RunningServer, create, serving

_ROWS = some_rows(4, 8)
_BATCH = {"hidden_states": _ROWS.tolist()}
_OTHER = {"hidden_states": some_rows(6, 8)[2:].tolist()}


@pytest.fixture
def path(server: RunningServer, new_model: ModelFactory) -> str:
    """A model with the versions 1, 2 and 3 on disk, and 4 in memory only."""
    found = f"/models/{new_model()}"
    for _ in range(2):
        _train(server, found)
        server.http.post(f"{found}/versions").raise_for_status()
    _train(server, found)
    return found


def _train(server: RunningServer, path: str, batch: Any = _BATCH) -> dict[str, Any]:
    answer = server.http.post(f"{path}/train-step", json=batch).raise_for_status()
    body: dict[str, Any] = answer.json()
    return body


def _served(server: RunningServer, path: str, **options: Any) -> int:
    answer = server.http.post(f"{path}/reduce", json={**_BATCH, **options}).raise_for_status()
    return int(answer.json()["version"])


def _promote(server: RunningServer, path: str, version: object) -> dict[str, Any]:
    answer = server.http.put(f"{path}/serving", json={"version": version}).raise_for_status()
    body: dict[str, Any] = answer.json()
    return body


def test_unpinned_requests_follow_what_is_promoted(server: RunningServer, path: str) -> None:
    served = []
    for version in (1, 3, "live"):
        assert _promote(server, path, version)["serving"] == version
        assert server.http.get(path).json()["serving"] == version
        served.append((_served(server, path), _served(server, path, version="live")))
    assert served == [(1, 4), (3, 4), (4, 4)]


def test_a_pinned_model_goes_on_learning_behind_it(server: RunningServer, path: str) -> None:
    _promote(server, path, 2)
    assert _train(server, path)["version"] == 5
    assert (_served(server, path), _served(server, path, version="live")) == (2, 5)
    _promote(server, path, "live")
    assert _train(server, path)["version"] == _served(server, path) == 6


def test_a_promotion_makes_no_version(server: RunningServer, path: str) -> None:
    before = server.http.get(f"{path}/state").json()
    answer = _promote(server, path, 1)
    after = server.http.get(f"{path}/state").json()
    assert (answer["kind"], answer["version"], answer["step"]) == ("serving", 4, 3)
    assert after == before | {
        "serving": 1, "seq": before["seq"] + 1, "journal_bytes": after["journal_bytes"],
    }  # fmt: skip


def test_promoting_the_newest_version_writes_it(server: RunningServer, path: str) -> None:
    assert server.http.get(path).json()["retained"] == [1, 2, 3]
    _promote(server, path, 4)
    assert server.http.get(path).json()["retained"] == [1, 2, 3, 4]
    _train(server, path)
    assert _served(server, path) == 4


def test_under_load_every_answer_is_made_by_one_of_the_promoted_versions(
    server: RunningServer, path: str
) -> None:
    expected = {v: _ROWS @ weights(server, path.rpartition("/")[2], v).T for v in (1, 3)}
    _promote(server, path, 1)

    def read(_: int) -> int:
        answer = server.http.post(f"{path}/reduce", **encode(_ROWS, "nested"))
        version = int(answer.headers["model-version"])
        # float32 sums of 8 products in another order.
        np.testing.assert_allclose(reduced_of(answer), expected[version], rtol=0, atol=1e-5)
        return version

    with ThreadPoolExecutor(4) as pool:
        reads = pool.map(read, range(200))
        for number in range(40):
            _promote(server, path, (3, 1)[number % 2])
        assert set(reads) <= {1, 3}


@pytest.mark.parametrize("end", ["stopped", "killed"])
def test_what_is_served_is_served_after_a_restart(
    start_server: ServerFactory, tmp_path: Path, end: str
) -> None:
    with serving(tmp_path / "stopped") as first:
        create(first, "small", MODELS["small"])
        _train(first, "/models/small")
        _promote(first, "/models/small", 1)
        before = reduced_of(first.http.post("/reduce", json=_BATCH))
        shutil.copytree(first.models_dir, tmp_path / "killed")  # what a kill would leave
    second = start_server(tmp_path / end)
    assert (_served(second, ""), _served(second, "", version="live")) == (1, 2)
    np.testing.assert_array_equal(reduced_of(second.http.post("/reduce", json=_BATCH)), before)


def test_retention_leaves_what_is_served(start_server: ServerFactory) -> None:
    server = start_server(retain_checkpoints=2)
    create(server, "small", MODELS["small"])
    for version in range(2, 8):
        _train(server, "")
        server.http.post("/models/small/versions").raise_for_status()
        if version == 2:
            _promote(server, "/models/small", 2)
    assert server.http.get("/models/small").json()["retained"] == [1, 2, 6, 7]
    assert _served(server, "") == 2


def test_a_retained_version_gives_the_same_bits_for_the_same_request(
    server: RunningServer, path: str
) -> None:
    newest = reduced_of(server.http.post(f"{path}/reduce", json=_BATCH))
    server.http.post(f"{path}/versions").raise_for_status()
    for _ in range(2):
        _train(server, path)
        again = server.http.post(f"{path}/reduce", json={**_BATCH, "version": 4})
        np.testing.assert_array_equal(reduced_of(again), newest)


def test_require_version_never_answers_from_another_space(server: RunningServer, path: str) -> None:
    _promote(server, path, 2)
    held = server.http.post(f"{path}/reduce", json={**_BATCH, "require_version": 2})
    assert (held.status_code, held.json()["version"]) == (200, 2)
    for required in (1, 3, 4, 9):
        body = {**_BATCH, "require_version": required}
        assert_canonical(server.http.post(f"{path}/reduce", json=body), 412, "version_mismatch")


def test_a_rollback_is_a_new_version_with_the_same_weights(
    server: RunningServer, path: str
) -> None:
    answer = server.http.post(f"{path}/rollback", json={"version": 2}).json()
    old = server.http.get(f"{path}/versions/2").json()
    assert (answer["kind"], answer["version"], answer["step"]) == ("rollback", 5, 1)
    assert answer["digest"] == old["digest"] == server.http.get(path).json()["digest"]
    assert _served(server, path) == 5


def test_after_a_rollback_learning_goes_on_as_from_that_state(
    server: RunningServer, path: str, new_model: ModelFactory
) -> None:
    server.http.post(f"{path}/rollback", json={"version": 2}).raise_for_status()
    straight = f"/models/{new_model()}"
    _train(server, straight)
    told = ("step", "loss", "grad_norm", "digest")  # the moments show in the second step
    for batch in (_OTHER, _BATCH):
        after, expected = _train(server, path, batch), _train(server, straight, batch)
        assert [after[name] for name in told] == [expected[name] for name in told]
    assert (after["version"], expected["version"]) == (7, 4)


def test_a_number_is_never_given_twice(server: RunningServer, path: str) -> None:
    versions = [4]
    for version in (1, 3, 2):
        body = {"version": version}
        versions.append(server.http.post(f"{path}/rollback", json=body).json()["version"])
        versions.append(_train(server, path)["version"])
    assert versions == list(range(4, 11))


@pytest.mark.parametrize("end", ["stopped", "killed"])
def test_a_rollback_is_there_after_a_restart(
    start_server: ServerFactory, tmp_path: Path, end: str
) -> None:
    with serving(tmp_path / "stopped") as first:
        create(first, "small", MODELS["small"])
        _train(first, "")
        first.http.post("/models/small/versions").raise_for_status()
        _train(first, "")
        first.http.post("/models/small/rollback", json={"version": 2}).raise_for_status()
        before = first.http.get("/models/small/state").json()
        shutil.copytree(first.models_dir, tmp_path / "killed")
    after = start_server(tmp_path / end).http.get("/models/small/state").json()
    told = ("version", "step", "state_digest", "seq")
    assert [after[name] for name in told] == [before[name] for name in told]


@pytest.mark.parametrize("version", [4, 99, 2**63 - 1])
def test_a_version_that_is_gone_is_404_and_names_the_nearest(
    server: RunningServer, path: str, version: int
) -> None:
    before = server.http.get(f"{path}/state").json()
    answers = [server.http.post(f"{path}/rollback", json={"version": version})]
    if version != 4:  # the newest is written where it is promoted
        answers.append(server.http.put(f"{path}/serving", json={"version": version}))
    for answer in answers:
        assert_canonical(answer, 404, "version_not_retained", detail="nearest retained: 1, 2, 3")
    assert server.http.get(f"{path}/state").json() == before
