"""Every loss over the wire, with the fields that it asks for, in every form of a body."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save
from websockets.sync.client import connect

from app.client import Client
from app.types import Batch
from tests.checks.losses import ARGUMENTS, loss_of, name_of
from tests.contract.wire import SAFETENSORS, Array, some_rows
from tests.server import RunningServer, create, declare, serving

ROWS = some_rows(12, 8)
FIELDS: Mapping[str, Array] = {
    "targets": np.sin(ROWS[:, :3]),
    "positives": ROWS + 0.1 * np.cos(5 * ROWS),
    "negatives": np.sin(7 * ROWS),
    "labels": np.arange(12) % 2,
    "sample_weights": np.linspace(0.5, 1, 12, dtype=np.float32),
}
# Those that need fields which no other loss needs.
FORMS = ("contrastive", "triplet", "cross_entropy", "relation")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder: Path = tmp_path_factory.mktemp("losses")
    with serving(folder) as running:
        create(running, "small", declare(8, 3))
        yield running


def fields_for(arguments: Mapping[str, Any]) -> dict[str, Array]:
    loss = loss_of(arguments)
    used = {name: FIELDS[name] for name in FIELDS.keys() & (loss.needs | loss.accepts)}
    return {"hidden_states": ROWS, **used}


def as_lists(arrays: Mapping[str, Array]) -> dict[str, Any]:
    return {name: array.tolist() for name, array in arrays.items()}


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=name_of)
def test_a_step_lowers_each_loss(server: RunningServer, arguments: Mapping[str, Any]) -> None:
    body = {**as_lists(fields_for(arguments)), "loss": arguments}
    before = server.http.get("/models/small").json()["version"]
    answer = server.http.post("/models/small/train-step", json=body)
    assert answer.status_code == 200, answer.text
    after = server.http.post("/models/small/evaluate", json={**body, "version": "live"}).json()
    assert answer.json()["version"] == before + 1
    # By Adam's first steps; `mse` after losses that turned the axes may need more than one.
    assert after["losses"][arguments["type"]] < answer.json()["loss"] + 1e-3


@pytest.mark.parametrize("name", FORMS)
def test_every_form_of_a_body_gives_the_same_loss(server: RunningServer, name: str) -> None:
    arrays = fields_for({"type": name})
    document = {**as_lists(arrays), "loss": name}
    losses = []
    url = server.url.replace("http", "ws") + "/models/small/train-stream"
    frame = save(arrays)
    for send in (
        lambda: server.http.post("/models/small/train-step", json=document).json()["loss"],
        lambda: server.http.post(
            f"/models/small/train-step?loss={name}",
            content=save(arrays),
            headers={"content-type": SAFETENSORS},
        ).json()["loss"],
        lambda: _last_loss(server, json.dumps(document).encode(), "application/x-ndjson", ""),
        lambda: _last_loss(
            server,
            struct.pack("<I", len(frame)) + frame,
            "application/x-slimvec-frames",
            f"?loss={name}",
        ),
        lambda: _by_socket(url, json.dumps(document)),
        lambda: _by_client(server, arrays, name),
    ):
        # Always from the same weights.
        server.http.post("/models/small/rollback", json={"version": 1}).raise_for_status()
        losses.append(send())
    assert losses == [losses[0]] * 6


def _last_loss(server: RunningServer, body: bytes, media_type: str, query: str) -> float:
    answer = server.http.post(
        f"/models/small/train-stream{query}", content=body, headers={"content-type": media_type}
    )
    value: float = json.loads(answer.text.splitlines()[-1])["loss"]
    return value


def _by_socket(url: str, text: str) -> float:
    with connect(url) as socket:
        socket.send(text)
        value: float = json.loads(socket.recv())["loss"]
    return value


def _by_client(server: RunningServer, arrays: dict[str, Any], name: str) -> float:
    with Client(server.url, "small") as client:
        (acknowledgement,) = client.train_stream([Batch(**arrays)], loss=name)
    value: float = acknowledgement.loss  # type: ignore[union-attr, assignment]  # of an applied step
    return value


def test_labels_that_float32_would_round_are_refused_by_every_form(server: RunningServer) -> None:
    labels = np.array([0] * 11 + [2**24 + 1])
    arrays = {"hidden_states": ROWS, "labels": labels}
    query, headers = "?loss=supervised_contrastive", {"content-type": SAFETENSORS}
    binary = server.http.post(
        f"/models/small/train-step{query}", content=save(arrays), headers=headers
    )
    text = server.http.post(
        "/models/small/train-step",
        json={**as_lists(arrays), "loss": "supervised_contrastive"},
    )
    assert (binary.json()["code"], text.json()["code"]) == ("out_of_range", "labels_invalid")


@pytest.mark.parametrize("name", ["positives", "negatives"])
def test_a_value_that_is_not_finite_is_refused_in_every_field(
    server: RunningServer, name: str
) -> None:
    arrays = fields_for({"type": "triplet"})
    arrays[name] = np.where(np.arange(8) == 3, np.float32("nan"), arrays[name])
    answer = server.http.post(
        "/models/small/train-step?loss=triplet",
        content=save(arrays),
        headers={"content-type": SAFETENSORS},
    )
    problem = answer.json()
    assert (problem["code"], problem["errors"][0]["pointer"]) == (
        "non_finite_input",
        f"/{name}/0/3",
    )


def test_a_model_may_declare_a_loss_of_losses(server: RunningServer) -> None:
    loss = {
        "type": "weighted",
        "losses": [
            {"type": "nested", "loss": "distil", "dimensions": [1, 2, 3]},
            {"type": "contrastive", "weight": 0.3},
        ],
    }
    create(server, "sum", declare(8, 3, loss=loss))
    body = as_lists(fields_for({"type": "contrastive"}))
    answers = [server.http.post("/models/sum/train-step", json=body) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200] * 3


@pytest.mark.parametrize(
    ("loss", "pointer"),
    [
        ({"type": "nested", "loss": "distil", "dimensions": [1, 4]}, "/loss/dimensions"),
        (
            {
                "type": "weighted",
                "losses": ["mse", {"type": "nested", "loss": "distil", "dimensions": [4]}],
            },
            "/loss/losses/1/dimensions",
        ),
        ({"type": "nested", "loss": "distil", "dimensions": [0]}, "/loss/dimensions/0"),
        ({"type": "distil", "temperature": 0}, "/loss/temperature"),
        ({"type": "weighted", "losses": ["mse", "no"]}, "/loss/losses/1/type"),
    ],
)
def test_a_model_whose_loss_cannot_be_is_not_created(
    server: RunningServer, loss: dict[str, Any], pointer: str
) -> None:
    answer = server.http.put("/models/never", json=declare(8, 3, loss=loss))
    assert answer.status_code == 422
    assert [fault["pointer"] for fault in answer.json()["errors"]] == [pointer]
