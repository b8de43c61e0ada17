"""Which request each verb sends, and what it makes of the answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any
from uuid import UUID

import numpy as np
import orjson
import pytest
from safetensors.numpy import load as safetensors_load

from app.api.errors import render
from app.client import NotUnderstood, Retries
from app.client.actions import Answer, Done, Flow, Pause, Request, Send, advance
from app.client.arrays import pack_fields, pack_frame
from app.client.trouble import Interrupted
from app.client.verbs import Verbs
from app.codecs import pack, unpack
from app.errors import InProgress, Unacceptable, Unavailable
from app.types import Alignment, Batch, ControlAnswer, Stamp, StepAnswer

ROWS = np.ones((2, 3), np.float32)
STEP = StepAnswer(
    model="small", version=2, step=1, update="gradient", loss=0.5, grad_norm=1.0,
    learning_rate=(0.1, 0.2), rows=2, digest="0" * 16,
)  # fmt: skip
CONTROL = ControlAnswer(
    model="small", kind="rollback", version=3, step=1, digest="0" * 16, serving="live",
    learning_rate=0.1,
)  # fmt: skip

TOLD = {
    **{"model": "small", "version": "3", "digest": "d", "to": "4", "to_digest": "e"},
    **{"aligned_by": "moments", "vectors": "99", "queries": "9", "nn10_own": "0.5"},
    **{"cosine": "0.5", "cosine_aligned": "1.0", "nn10": "0.25", "nn10_aligned": "0.5"},
}


def verbs(model: str | None = "small") -> Verbs:
    return Verbs(model, Retries(first_s=0.001))


def first_request(flow: Flow[Any]) -> Request:
    step = advance(flow)
    assert isinstance(step, Send)
    return step.request


def reduce(**options: Any) -> Flow[Any]:
    defaults = dict.fromkeys(("version", "require_version", "dimensions", "mask", "branch"))
    return verbs().reduce(ROWS, **{**defaults, "normalize": False, **options})


def train(**options: Any) -> Flow[StepAnswer]:
    defaults = {"loss": None, "branch": None, "if_version": None, "key": None}
    return verbs().train_step({"hidden_states": ROWS, "targets": None}, **{**defaults, **options})


def alignment() -> Flow[Alignment]:
    return verbs().alignment(3, "live")


def configure(lr: float | list[float] = 0.5) -> Flow[ControlAnswer]:
    return verbs().configure(lr=lr, if_version=7)


def rollback() -> Flow[ControlAnswer]:
    return verbs().rollback(1, if_version=7)


@pytest.mark.parametrize(
    ("flow", "line"),
    [
        (reduce, "POST /models/small/reduce repeatable"),
        (train, "POST /models/small/train-step repeatable"),
        (lambda: verbs(None).models(), "GET /models repeatable"),
        (lambda: verbs().describe(), "GET /models/small repeatable"),
        (lambda: verbs().state(), "GET /models/small/state repeatable"),
        (lambda: verbs().versions(), "GET /models/small/versions repeatable"),
        (lambda: verbs().version(7), "GET /models/small/versions/7 repeatable"),
        (alignment, "GET /models/small/versions/3/alignment repeatable"),
        (lambda: verbs().checkpoint(), "POST /models/small/versions repeatable"),
        (lambda: verbs().promote("live"), "PUT /models/small/serving repeatable"),
        (rollback, "POST /models/small/rollback"),
        (configure, "PATCH /models/small repeatable"),
        (lambda: verbs().create({}), "PUT /models/small"),
        (lambda: verbs().delete(), "DELETE /models/small"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_verb_asks_for(flow: Callable[[], Flow[Any]], line: str) -> None:
    request = first_request(flow())
    words = [request.method, request.path] + ["repeatable"] * request.is_repeatable
    assert " ".join(words) == line


def test_options_of_a_reduce_are_query_parameters() -> None:
    request = first_request(reduce(version=3, require_version=3, normalize=True, dimensions=2))
    assert request.query == {
        "version": "3", "require_version": "3", "normalize": "true", "dimensions": "2"
    }  # fmt: skip
    assert first_request(reduce()).query == {}


def test_a_step_carries_arrays_loss_version_and_a_key() -> None:
    request = first_request(train(loss="mse", if_version=41))
    assert unpack(*request.body)[0].keys() == {"hidden_states"}
    assert request.query == {"loss": "mse"}
    assert request.headers["if-match"] == '"41"'
    assert UUID(request.headers["idempotency-key"]).version == 4


@pytest.mark.parametrize("kind", [np.int64, np.uint64])
def test_labels_are_sent_as_whole_numbers_exactly(kind: type[np.integer[Any]]) -> None:
    """Rounded on the way, one that the server could not hold would become one that it can."""
    labels = np.array([0, 2**24 + 1], kind)
    sent = safetensors_load(pack_fields({"hidden_states": ROWS, "labels": labels}))["labels"]
    assert (sent.dtype.name, sent.tolist()) == ("int64", [0, 2**24 + 1])


def test_each_step_has_a_key_of_its_own() -> None:
    keys = {first_request(train()).headers["idempotency-key"] for _ in range(3)}
    assert len(keys) == 3
    assert first_request(train(key="mine")).headers["idempotency-key"] == "mine"


@pytest.mark.parametrize(
    "outcome",
    [
        Interrupted("cut"),
        Answer(*render(InProgress("idempotency_in_progress", "x"), "id")),
        Answer(*render(Unavailable("draining", "x"), "id")),
    ],
    ids=["broken", "409", "503"],
)
def test_every_try_of_a_step_is_the_same_request(outcome: object) -> None:
    flow = train()
    request = first_request(flow)
    assert isinstance(advance(flow, outcome), Pause)
    assert advance(flow) == Send(request)
    assert advance(flow, Answer(200, {}, orjson.dumps(STEP))) == Done(STEP)


def test_a_rollback_of_unknown_outcome_is_not_repeated() -> None:
    flow = rollback()
    assert first_request(flow).headers["if-match"] == '"7"'
    with pytest.raises(Interrupted):
        advance(flow, Interrupted("cut"))


def test_a_rollback_that_was_not_accepted_is_repeated() -> None:
    flow = rollback()
    request = first_request(flow)
    assert isinstance(advance(flow, Answer(*render(Unavailable("draining", "x"), "id"))), Pause)
    assert advance(flow) == Send(request)
    assert advance(flow, Answer(200, {}, orjson.dumps(CONTROL))) == Done(CONTROL)


@pytest.mark.parametrize("rates", [0.5, [0.5, 0.25]])
def test_learning_rates_are_sent_under_a_condition(rates: float | list[float]) -> None:
    request = first_request(configure(rates))
    assert request.headers["if-match"] == '"7"'
    assert orjson.loads(*request.body) == {"lr": rates}


def test_a_map_is_the_callers_own_with_all_that_is_told_of_it() -> None:
    flow = alignment()
    assert first_request(flow).query == {"to": "live"}
    step = advance(flow, Answer(200, {}, pack({"rotation": np.eye(2, dtype=np.float32)}, TOLD)))
    assert isinstance(step, Done)
    step.value.rotation[:] = 2
    assert step.value.to == Stamp("small", 4, "e")
    assert (step.value.aligned_by, step.value.vectors, step.value.nn10) == ("moments", 99, 0.25)


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{}", pack({}, TOLD), pack({"rotation": ROWS}, {})),
        pack({"rotation": ROWS}, {**TOLD, "nn10": "many"}),
        pack({"rotation": ROWS}, {**TOLD, "aligned_by": "guess"}),
    ],
)
def test_an_alignment_of_another_form_is_not_understood(body: bytes) -> None:
    flow = alignment()
    first_request(flow)
    with pytest.raises(NotUnderstood):
        advance(flow, Answer(200, {}, body))


def test_without_a_model_the_short_paths_and_the_servers_default_are_used() -> None:
    nameless = verbs(None)
    assert first_request(nameless.describe()).path == "/models"
    flow = nameless.versions()
    first_request(flow)
    step = advance(flow, Answer(200, {}, b'{"default": "news", "models": []}'))
    assert step == Send(Request("GET", "/models/news/versions", is_repeatable=True))


def test_a_reduced_array_is_the_callers_own() -> None:
    flow = reduce()
    first_request(flow)
    body = pack({"reduced": ROWS}, {"model": "small", "version": "3", "digest": "d"})
    step = advance(flow, Answer(200, {}, body))
    assert isinstance(step, Done)
    step.value.array[:] = 2
    assert asdict(step.value.stamp) == {"model": "small", "version": 3, "digest": "d"}


@pytest.mark.parametrize("body", [b"", b"{}", pack({"reduced": ROWS}, {}), pack({}, {})])
def test_a_reduce_without_stamped_vectors_is_not_understood(body: bytes) -> None:
    flow = reduce()
    first_request(flow)
    with pytest.raises(NotUnderstood):
        advance(flow, Answer(200, {}, body))


@pytest.mark.parametrize("body", [b"", b"[]", b'{"model": "small"}'])
def test_a_document_of_another_form_is_not_understood(body: bytes) -> None:
    flow = train()
    first_request(flow)
    with pytest.raises(NotUnderstood):
        advance(flow, Answer(200, {}, body))


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([[1, 2]], "float32"),
        (np.ones((1, 2), np.float64), "float32"),
        (np.ones((1, 2), ">f4"), "float32"),
        (np.ones((2, 1), np.float32).T, "float32"),
        (np.ones((1, 2), np.float16), "float32"),  # travels as it is, and is widened when read
    ],
)
def test_numbers_travel_as_floats(values: Any, dtype: str) -> None:
    arrays, _ = unpack(pack_fields({"hidden_states": values}))
    assert arrays["hidden_states"].dtype == dtype
    np.testing.assert_array_equal(arrays["hidden_states"], np.asarray(values, np.float32))


def test_a_frame_is_a_length_and_a_body_with_every_array_and_the_key() -> None:
    batch = Batch(hidden_states=ROWS, targets=ROWS * 2, sample_weights=ROWS[:, 0])
    frame = pack_frame(batch, "s-1")
    arrays, metadata = unpack(frame[4:])
    assert int.from_bytes(frame[:4], "little") == len(frame) - 4
    assert metadata == {"key": "s-1"}
    assert arrays.keys() == {"hidden_states", "targets", "sample_weights"}


@pytest.mark.parametrize("values", ["text", [["a"]], [[1], [1, 2]], [1j], [None], {}])
def test_what_is_no_array_of_numbers_is_refused_before_it_is_sent(values: Any) -> None:
    with pytest.raises(Unacceptable, match="expected hidden_states to be an array of numbers"):
        pack_fields({"hidden_states": values})


def test_a_number_beyond_float32_is_refused_before_it_is_sent() -> None:
    with pytest.raises(Unacceptable) as raised:
        pack_fields({"hidden_states": [[1.0, 1e300]]})
    assert (raised.value.code, raised.value.pointer) == ("out_of_range", "/hidden_states/0/1")
