from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from app.api.asgi import Message, Receive, Scope, Send
from app.api.context import RequestContext
from app.api.edge import Edge
from app.api.gate import Gate
from app.engine import Engine, choose_device
from app.errors import Unacceptable
from app.service import Service
from app.settings import Settings
from app.storage.repository import Repository
from app.telemetry import Metrics


def answer_of(
    behind: Any, *, metrics: Metrics | None = None, **headers: str
) -> tuple[int, dict[str, str], Any]:
    """What a client gets when the app behind does this."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        raise AssertionError("nothing here reads")

    given = {"host": "localhost", **headers}
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in given.items()]
    scope = {"type": "http", "method": "GET", "path": "/x", "headers": pairs}
    settings = Settings()
    engine = Engine(choose_device("cpu"), settings)
    service = Service(engine, Repository(settings.models_dir), settings)
    edge = Edge(service, settings, metrics or Metrics(), Gate(settings))
    context = RequestContext(behind, edge)
    asyncio.run(context(scope, receive, send))
    start, body = sent
    names = {name.decode(): value.decode() for name, value in start["headers"]}
    return start["status"], names, json.loads(body["body"])


def raising(error: BaseException) -> Any:
    async def behind(scope: Scope, receive: Receive, send: Send) -> None:
        raise error

    return behind


def test_a_refusal_carries_the_request_id_and_a_clock() -> None:
    status, headers, body = answer_of(
        raising(Unacceptable("ragged_rows", "short")), request_id="a1"
    )
    assert (status, body["code"], body["instance"]) == (422, "ragged_rows", "a1")
    assert headers["request-id"] == "a1"
    assert headers["server-timing"].startswith("total;dur=")


@pytest.mark.parametrize("offered", ["", "a b", "a" * 65, "é"])
def test_an_id_that_is_not_a_harmless_word_is_replaced(offered: str) -> None:
    _, headers, _ = answer_of(raising(Unacceptable("x", "y")), request_id=offered)
    assert headers["request-id"] != offered
    assert len(headers["request-id"]) == 16


def test_a_fault_of_ours_is_logged_and_not_told(caplog: pytest.LogCaptureFixture) -> None:
    status, _, body = answer_of(raising(ValueError("a secret of the library")))
    assert (status, body["code"]) == (500, "internal")
    assert "secret" not in json.dumps(body)
    assert "a secret of the library" in caplog.text


def test_what_the_framework_raises_after_its_answer_is_counted_and_not_raised_again() -> None:
    async def behind(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 500, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})
        raise ValueError("already answered and logged")

    metrics = Metrics()
    assert answer_of(behind, metrics=metrics)[0] == 500
    assert b'slimvec_requests_total{status="500"} 1.0' in metrics.render()


def test_a_request_that_the_end_of_the_drain_cuts_off_is_told_so() -> None:
    status, headers, body = answer_of(raising(asyncio.CancelledError()))
    assert (status, body["code"]) == (503, "outcome_unknown")
    assert headers["retry-after"] == "1"
