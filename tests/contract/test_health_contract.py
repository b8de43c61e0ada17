"""Probes say whether vectors are made and whether models are trained; and if not, why."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import httpx
import pytest

from app.api.app import create_app
from app.api.edge import Edge
from app.api.gate import Gate
from app.engine import Engine, choose_device
from app.errors import Unavailable
from app.main import build
from app.service import Service
from app.settings import Settings
from app.storage.repository import Repository
from app.telemetry import Metrics
from app.types import Position, StoredRow
from tests.conftest import MODELS, ModelFactory, ServerFactory
from tests.problem import assert_canonical
from tests.server import RunningServer, create, declare

_PATIENCE_S = 60
_BATCH = {"hidden_states": [[1, 2, 3, 4, 5, 6, 7, 8], [8, 7, 6, 5, 4, 3, 2, 1]]}


def test_all_is_well(server: RunningServer) -> None:
    live, ready = (server.http.get(f"/health/{probe}") for probe in ("live", "ready"))
    well = {"serving": True, "training": True, "reason": "", "stopped": {}, "not_loaded": {}}
    assert (live.status_code, live.json()) == (200, {"status": "live", **well})
    assert (ready.status_code, ready.json()) == (200, {"status": "ready", **well})


def test_a_model_whose_training_stopped_is_named_and_serving_goes_on(
    start_server: ServerFactory,
) -> None:
    server = start_server()
    for name in ("small", "other"):
        create(server, name, MODELS["small"])
    server.service.live("other").stop_training(Unavailable("storage_failed", "the disk failed"))
    ready = server.http.get("/health/ready")
    assert (ready.status_code, ready.json()) == (
        200,
        {
            "status": "ready",
            "serving": True,
            "training": False,
            "reason": "storage_failed: the disk failed",
            "stopped": {"other": "storage_failed"},
            "not_loaded": {},
        },
    )
    assert_canonical(
        server.http.post("/models/other/train-step", json=_BATCH), 503, "storage_failed"
    )
    assert server.http.post("/models/other/reduce", json=_BATCH).status_code == 200
    assert server.http.post("/train-step", json=_BATCH).status_code == 200


@pytest.mark.anyio
async def test_before_the_start_is_over_nothing_is_ready(tmp_path: Path) -> None:
    assembly = build(Settings(models_dir=tmp_path, device="cpu"))
    with assembly.resources:
        app = create_app(
            Edge(assembly.service, assembly.settings, Metrics(), Gate(assembly.settings))
        )
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            ready = await http.get("/health/ready")
    assert (ready.status_code, ready.headers["retry-after"]) == (503, "1")
    assert ready.json() == {
        "status": "starting",
        "serving": False,
        "training": False,
        "reason": "models are loading",
        "stopped": {},
        "not_loaded": {},
    }


class _Paused(Repository):
    """Waits in the middle of its journal."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.reached, self.go_on = Event(), Event()

    def journal_rows(self, model: str, after: Position) -> Iterator[StoredRow]:
        for stored in super().journal_rows(model, after):
            if stored.row.seq == 3:
                self.reached.set()
                assert self.go_on.wait(_PATIENCE_S)
            yield stored


@pytest.fixture
def killed(start_server: ServerFactory, tmp_path: Path) -> Path:
    """The models of a server that was killed after three steps."""
    server = start_server()
    create(server, "small", MODELS["small"])
    for _ in range(3):
        server.http.post("/train-step", json=_BATCH).raise_for_status()
    shutil.copytree(server.models_dir, tmp_path / "killed")
    return tmp_path / "killed"


@pytest.mark.anyio
async def test_a_start_says_what_it_is_replaying(killed: Path) -> None:
    settings, store = Settings(models_dir=killed), _Paused(killed)
    service = Service(Engine(choose_device("cpu"), settings), store, settings)
    starting = asyncio.create_task(service.start())
    transport = httpx.ASGITransport(create_app(Edge(service, settings, Metrics(), Gate(settings))))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        assert await asyncio.to_thread(store.reached.wait, _PATIENCE_S)
        ready = await http.get("/health/ready")
        store.go_on.set()
        await starting
        after = await http.get("/health/ready")
    await service.close()
    assert (ready.status_code, ready.json()["reason"]) == (503, "replaying small: change 2 of 3")
    assert (after.status_code, after.json()["reason"]) == (200, "")


def test_refused_steps_are_counted_by_model_and_reason(
    server: RunningServer, new_model: ModelFactory
) -> None:
    model = new_model(declare(8, 3, guards={"warm_up": 1, "loss_spike": 2}))
    bodies = [
        {**_BATCH, "loss": "reconstruction"},
        {"hidden_states": [[1e3] * 8], "loss": "reconstruction"},
        {"hidden_states": [[3e38] * 8], "loss": "reconstruction"},
        {"hidden_states": [[3e38] * 8], "loss": "reconstruction"},
    ]
    answers = [server.http.post(f"/models/{model}/train-step", json=body) for body in bodies]
    reasons = [answer.json().get("reason") for answer in answers]
    counters = server.http.get(f"/models/{model}").json()["counters"]
    assert reasons == [None, "loss_spike", "non_finite_loss", "non_finite_loss"]
    assert counters == {
        "rows_trained": 2,
        "steps_accepted": 1,
        "steps_refused": 3,
        "refused_loss_spike": 1,
        "refused_non_finite_loss": 2,
    }
    metrics = server.http.get("/metrics").text
    for reason, number in (("loss_spike", 1), ("non_finite_loss", 2)):
        labels = f'model="{model}",reason="{reason}"'
        assert f"slimvec_steps_refused_total{{{labels}}} {number}.0" in metrics


@pytest.fixture
def two_models(start_server: ServerFactory, tmp_path: Path) -> Path:
    """The models `small` and `other` of a server that was killed after a step of each."""
    server = start_server()
    for name in ("small", "other"):
        create(server, name, MODELS["small"])
        server.http.post(f"/models/{name}/train-step", json=_BATCH).raise_for_status()
    shutil.copytree(server.models_dir, tmp_path / "killed")
    return tmp_path / "killed"


async def _look(
    models_dir: Path, default_model: str
) -> tuple[httpx.Response, dict[str, object], str]:
    """Readiness, the list of models and the metrics of a server of that directory."""
    assembly = build(Settings(models_dir=models_dir, device="cpu", default_model=default_model))
    with assembly.resources:
        await assembly.service.start()
        transport = httpx.ASGITransport(assembly.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            ready, models = await http.get("/health/ready"), await http.get("/models")
            metrics = await http.get("/metrics")
        await assembly.service.close()
    return ready, models.json(), metrics.text


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("lost", "default", "status"),
    [
        (["small"], "small", 503),  # the default model
        (["other"], "small", 200),  # another one
        (["small"], "absent", 200),  # there is no default model, and one is served
        (["small", "other"], "absent", 503),  # none is served
    ],
)
async def test_models_that_could_not_be_loaded_are_named_with_their_reason(
    two_models: Path, lost: list[str], default: str, status: int
) -> None:
    for name in lost:
        (two_models / name / "journal-1.sqlite3-wal").unlink()
    ready, models, metrics = await _look(two_models, default)
    body = ready.json()
    assert (ready.status_code, body["serving"], body["training"]) == (status, status == 200, False)
    assert body["status"] == ("ready" if status == 200 else "not_loaded")
    assert (
        "; ".join(f"model '{name}' could not be loaded" for name in sorted(lost)) in body["reason"]
    )
    assert sorted(body["not_loaded"]) == sorted(lost)
    assert all(f"slimvec repair {name}" in body["not_loaded"][name] for name in lost)
    assert models["not_loaded"] == body["not_loaded"]
    for name in ("small", "other"):
        assert f'slimvec_model_loaded{{model="{name}"}} {float(name not in lost)}' in metrics


def test_the_metrics_say_where_each_model_stands(start_server: ServerFactory) -> None:
    server = start_server()
    create(server, "small", MODELS["small"])
    for _ in range(2):
        server.http.post("/train-step", json=_BATCH, headers={"Idempotency-Key": "a"})
    state = server.http.get("/models/small/state").json()
    gauges = _gauges(server)
    assert gauges["model_version"] == 2
    assert (gauges["model_loaded"], gauges["training"]) == (1, 1)
    assert gauges["journal_bytes"] == state["journal_bytes"] > 0
    assert gauges["steps_replayed_total"] == 1
    assert gauges["commit_seconds_count"] == 1
    assert gauges["commit_seconds_sum"] > 0
    server.service.live("small").stop_training(Unavailable("storage_failed", "the disk failed"))
    assert _gauges(server)["training"] == 0


def _gauges(server: RunningServer) -> dict[str, float]:
    """What /metrics says of the model `small` alone."""
    pattern = r'^slimvec_(\w+)\{model="small"\} (\S+)$'
    found = re.findall(pattern, server.http.get("/metrics").text, flags=re.MULTILINE)
    return {name: float(value) for name, value in found}
