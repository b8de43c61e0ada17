"""POST /train-stream: records in, acknowledgements out, and exactly what was promised applied."""

from __future__ import annotations

import json
from threading import Event
from typing import Any

import httpx
import numpy as np
import pytest
from safetensors.numpy import save

from app.errors import Unavailable
from app.service import make_key
from app.types import Batch, TrainStep
from tests.conftest import ModelFactory, ServerFactory
from tests.contract.wire import some_rows
from tests.problem import FIELDS, assert_canonical
from tests.server import RunningServer, create, declare
from tests.stream import FRAMES, NDJSON, StreamClient, frame, json_record, with_length

_ROWS = some_rows(6, 8)
_ACK = {
    "ack", "version", "step", "update", "loss", "grad_norm", "learning_rate", "rows",
    "records_per_s",
}  # fmt: skip
_GOOD = json_record(hidden_states=_ROWS)
_REFUSED_BY_THE_EDGE = b'{"hidden_states": [[1]]}\n'
_REFUSED_BY_THE_TRAINER = b'{"hidden_states": [[3e38,1,1,1,1,1,1,1]], "loss": "reconstruction"}\n'
_FORMS = {NDJSON: json_record, FRAMES: frame}


def _batch(number: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.roll(_ROWS, number, axis=1) * np.float32(1 + number / 100)


def _post(
    server: RunningServer, model: str, body: bytes, query: str = "", form: str = NDJSON
) -> list[dict[str, Any]]:
    """The lines that a whole stream is answered with."""
    target = f"/models/{model}/train-stream{query}"
    answer = server.http.post(target, content=body, headers={"content-type": form})
    assert (answer.status_code, answer.headers["content-type"]) == (200, NDJSON), answer.text
    return [json.loads(line) for line in answer.content.splitlines()]


def _state(server: RunningServer, model: str) -> tuple[int, str]:
    state = server.http.get(f"/models/{model}/state").json()
    return state["version"], state["state_digest"]


def _after_steps(server: RunningServer, model: str, num_steps: int) -> tuple[int, str]:
    """Where single steps with the batches of a stream lead."""
    for number in range(num_steps):
        body = save({"hidden_states": _batch(number)})
        form = {"content-type": "application/x-safetensors"}
        server.http.post(f"/models/{model}/train-step", content=body, headers=form)
    return _state(server, model)


@pytest.mark.parametrize("form", _FORMS)
def test_each_record_is_acknowledged_while_the_stream_goes_on(
    server: RunningServer, new_model: ModelFactory, form: str
) -> None:
    model = new_model()
    with StreamClient(server.url, f"/models/{model}/train-stream", form) as stream:
        assert stream.response.status == 200
        for number in range(1, 4):
            stream.send(_FORMS[form](hidden_states=_ROWS))
            line = stream.line()
            assert line is not None
            assert line.keys() == _ACK
            assert (line["ack"], line["version"], line["rows"]) == (number, number + 1, 6)
            assert _state(server, model)[0] == number + 1
        stream.end()
        assert stream.line() is None


@pytest.mark.parametrize("form", _FORMS)
def test_a_stream_makes_what_single_steps_make_bit_for_bit(
    server: RunningServer, new_model: ModelFactory, form: str
) -> None:
    model, twin = new_model(), new_model()
    body = b"".join(_FORMS[form](hidden_states=_batch(number)) for number in range(20))
    lines = _post(server, model, body, form=form)
    assert (lines[-1]["ack"], lines[-1]["version"], lines[-1]["step"]) == (20, 21, 20)
    assert _state(server, model) == _after_steps(server, twin, 20)


def test_acknowledgements_are_cumulative_and_in_order(
    server: RunningServer, new_model: ModelFactory
) -> None:
    lines = _post(server, new_model(), _GOOD * 300)
    acks = [line["ack"] for line in lines]
    assert acks == sorted(set(acks))
    assert [line["version"] for line in lines] == [ack + 1 for ack in acks]
    assert acks[-1] == 300


def test_an_empty_stream_is_answered_with_no_lines(
    server: RunningServer, new_model: ModelFactory
) -> None:
    assert _post(server, new_model(), b"") == []
    assert _post(server, new_model(), b"\n\n", form=NDJSON) == []


def test_options_of_frames_are_query_parameters(
    server: RunningServer, new_model: ModelFactory
) -> None:
    own, named = new_model(declare(8, 3, loss="reconstruction")), new_model()
    body = frame(hidden_states=_ROWS) * 3
    _post(server, own, body, form=FRAMES)
    _post(server, named, body, "?loss=reconstruction", form=FRAMES)
    digests = [server.http.get(f"/models/{model}").json()["digest"] for model in (own, named)]
    assert digests[0] == digests[1]


@pytest.mark.parametrize(
    ("bad", "status", "code"),
    [
        (b"{\n", 400, "malformed_json"),
        (b"[]\n", 422, "wrong_type"),
        (b'{"hidden_states": [[1]], "key": 7}\n', 400, "bad_idempotency_key"),
        (b'{"hidden_states": [[1,1,1,1,1,1,1,1]], "key": ""}\n', 400, "bad_idempotency_key"),
        (_REFUSED_BY_THE_EDGE, 422, "shape_mismatch"),
        (_REFUSED_BY_THE_TRAINER, 422, "step_rejected"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_nothing_behind_a_refused_record_is_applied(
    server: RunningServer, new_model: ModelFactory, bad: bytes, status: int, code: str
) -> None:
    model = new_model()
    *acks, last = _post(server, model, _GOOD * 2 + bad + _GOOD * 40)
    assert acks[-1]["ack"] == 2
    assert (last["record"], last["error"]["status"], last["error"]["code"]) == (3, status, code)
    assert last["error"].keys() - {"errors", "reason"} == FIELDS
    assert _state(server, model)[0] == 3


def test_refused_records_are_passed_over_when_asked_for(
    server: RunningServer, new_model: ModelFactory
) -> None:
    model = new_model()
    body = b"".join([b"{}\n", _GOOD, _REFUSED_BY_THE_TRAINER, _GOOD, b"nonsense\n"])
    lines = _post(server, model, body, "?on_error=skip")
    refused = [line["record"] for line in lines if "error" in line]
    assert (refused, lines[-1]["ack"], _state(server, model)[0]) == ([1, 3, 5], 5, 3)
    for number in refused:
        at = next(i for i, line in enumerate(lines) if line.get("record") == number)
        assert all(line.get("ack", 0) < number for line in lines[:at])


def test_before_anything_was_applied_an_acknowledgement_has_nothing_to_say(
    server: RunningServer, new_model: ModelFactory
) -> None:
    _, ack = _post(server, new_model(), b"{}\n", "?on_error=skip")
    assert {name for name, value in ack.items() if value is None} == _ACK - {"ack", "records_per_s"}


@pytest.mark.parametrize("form", _FORMS)
def test_a_stream_sent_again_with_its_keys_changes_nothing(
    server: RunningServer, new_model: ModelFactory, form: str
) -> None:
    model = new_model()
    records = [_FORMS[form](f"k-{n}", hidden_states=_batch(n)) for n in range(10)]
    _post(server, model, b"".join(records[:7]), form=form)
    lines = _post(server, model, b"".join(records), form=form)
    assert (lines[-1]["ack"], lines[-1]["version"]) == (10, 11)
    assert _state(server, model) == _after_steps(server, new_model(), 10)


def test_a_key_that_comes_twice_in_one_stream_is_applied_once(
    server: RunningServer, new_model: ModelFactory
) -> None:
    model = new_model()
    records = [json_record("same", hidden_states=_ROWS)] * 5 + [_GOOD]
    lines = _post(server, model, b"".join(records))
    assert (lines[-1]["ack"], lines[-1]["version"]) == (6, 3)


def test_a_key_of_another_record_is_refused(server: RunningServer, new_model: ModelFactory) -> None:
    model = new_model()
    body = json_record("same", hidden_states=_ROWS) + json_record("same", hidden_states=_batch(1))
    last = _post(server, model, body)[-1]
    assert (last["record"], last["error"]["code"]) == (2, "idempotency_key_reused")
    assert _state(server, model)[0] == 2


def test_a_key_is_one_and_the_same_for_a_stream_and_a_single_step(
    server: RunningServer, new_model: ModelFactory
) -> None:
    model = new_model()
    _post(server, model, frame("a-key", hidden_states=_ROWS), form=FRAMES)
    step = server.http.post(
        f"/models/{model}/train-step",
        json={"hidden_states": _ROWS.tolist()},
        headers={"idempotency-key": "a-key"},
    )
    assert step.headers["idempotency-replayed"] == "true"
    assert _state(server, model)[0] == 2


@pytest.mark.parametrize(
    ("query", "headers", "status", "code"),
    [
        ("", {"content-type": "application/json"}, 415, "unsupported_media_type"),
        ("", {}, 415, "unsupported_media_type"),
        ("", {"content-type": NDJSON, "content-encoding": "gzip"}, 415,
         "unsupported_content_encoding"),
        ("", {"content-type": NDJSON, "idempotency-key": "k"}, 422, "idempotency_unsupported"),
        ("", {"content-type": NDJSON, "if-match": '"1"'}, 422, "if_match_unsupported"),
        ("?on_error=go", {"content-type": NDJSON}, 422, "out_of_range"),
        ("?on_error=skip&on_error=skip", {"content-type": NDJSON}, 400, "duplicate_key"),
        ("?loss=mse", {"content-type": NDJSON}, 422, "unknown_field"),
        ("?key=k", {"content-type": FRAMES}, 422, "unknown_field"),
    ],
)  # fmt: skip
def test_a_head_that_cannot_be_used_is_refused_before_anything_is_read(
    server: RunningServer, query: str, headers: dict[str, str], status: int, code: str
) -> None:
    answer = server.http.post(f"/train-stream{query}", content=_GOOD, headers=headers)
    assert_canonical(answer, status, code)


def test_a_stream_to_no_model_is_refused(server: RunningServer) -> None:
    answer = server.http.post(
        "/models/absent/train-stream", content=_GOOD, headers={"content-type": NDJSON}
    )
    assert_canonical(answer, 404, "model_not_found")


@pytest.mark.parametrize(
    ("form", "rest", "code"),
    [
        (NDJSON, _GOOD[: len(_GOOD) // 2], "malformed_json"),
        (FRAMES, frame(hidden_states=_ROWS)[:-1], "incomplete_frame"),
        (FRAMES, with_length(b""), "empty_body"),
        (FRAMES, with_length(b"x" * 20), "malformed_safetensors"),
        (FRAMES, b"\xff\xff\xff\xff", "body_too_large"),
    ],
)
def test_half_a_record_at_the_end_is_refused_and_what_came_before_is_applied(
    server: RunningServer, new_model: ModelFactory, form: str, rest: bytes, code: str
) -> None:
    model = new_model()
    lines = _post(server, model, _FORMS[form](hidden_states=_ROWS) * 2 + rest, form=form)
    assert [line.get("ack") or line["error"]["code"] for line in lines[-2:]] == [2, code]
    assert (lines[-1]["record"], _state(server, model)[0]) == (3, 3)


@pytest.mark.parametrize("query", ["", "?on_error=skip"])
def test_a_line_over_the_limit_ends_the_stream(start_server: ServerFactory, query: str) -> None:
    server = start_server(max_json_body_bytes=4096)
    create(server, "small", declare(8, 3))
    lines = _post(server, "small", _GOOD + b" " * 5000 + b"\n" + _GOOD, query)
    assert (lines[0]["ack"], lines[-1]["record"]) == (1, 2)
    assert (lines[-1]["error"]["status"], lines[-1]["error"]["code"]) == (413, "body_too_large")
    assert _state(server, "small")[0] == 2


@pytest.mark.timeout(600)
def test_a_stream_far_longer_than_a_body_may_be(start_server: ServerFactory) -> None:
    server = start_server(max_json_body_bytes=4096)
    create(server, "small", declare(8, 3))
    record = json_record(hidden_states=_ROWS[:1])
    lines = _post(server, "small", record * 10_000)
    assert (lines[-1]["ack"], lines[-1]["version"]) == (10_000, 10_001)
    assert _state(server, "small")[0] == 10_001


def test_one_byte_at_a_time(server: RunningServer, new_model: ModelFactory) -> None:
    model = new_model()
    with StreamClient(server.url, f"/models/{model}/train-stream", FRAMES) as stream:
        stream.socket.sendall(
            b"".join(b"1\r\n%c\r\n" % byte for byte in frame(hidden_states=_ROWS) * 3)
        )
        stream.end()
        assert [line["ack"] for line in stream.lines()][-1] == 3


def test_a_sender_that_asks_first_is_told_to_go_on(server: RunningServer) -> None:
    with StreamClient(server.url, headers=["Expect: 100-continue"]) as stream:
        assert stream.socket.recv(21) == b"HTTP/1.1 100 Continue"
        stream.end()


def test_a_broken_connection_leaves_what_was_acknowledged_and_no_half_record(
    server: RunningServer, new_model: ModelFactory
) -> None:
    model, target = new_model(), "/models/{}/train-stream"
    records = [json_record(f"k-{n}", hidden_states=_batch(n)) for n in range(10)]
    with StreamClient(server.url, target.format(model)) as stream:
        stream.send(b"".join(records[:5]) + records[5][:50])
        while (line := stream.line()) is not None and line["ack"] < 5:
            pass
    assert _state(server, model)[0] == 6
    assert _post(server, model, b"".join(records))[-1]["version"] == 11
    assert _state(server, model) == _after_steps(server, new_model(), 10)


def test_records_that_a_lost_connection_left_in_work_are_waited_for(
    server: RunningServer, new_model: ModelFactory
) -> None:
    model, release = new_model(), Event()
    body = b"".join(json_record(f"k-{n}", hidden_states=_batch(n)) for n in range(5))
    held = server.service.live(model).ask(release.wait)
    with StreamClient(server.url, f"/models/{model}/train-stream") as lost:
        lost.send(body)
        while not _is_known(server, model, 4):
            server.http.get("/health/live")
    with StreamClient(server.url, f"/models/{model}/train-stream") as again:
        again.send(body)
        again.end()
        release.set()
        *_, last = again.lines()
    assert held.result()
    assert (last["ack"], last["version"], _state(server, model)[0]) == (5, 6, 6)


def _is_known(server: RunningServer, model: str, number: int) -> bool:
    """Whether a record with the key `k-<number>` is queued or applied."""
    key = make_key(f"k-{number}", "", TrainStep(batch=Batch(hidden_states=_batch(number))))
    return server.service.histories[model].keys.find(key) is not None


def test_a_sender_that_never_pauses_is_held_back(start_server: ServerFactory) -> None:
    server, release = start_server(train_queue=4096), Event()
    create(server, "small", declare(8, 3))
    held = server.service.live("small").ask(release.wait)
    with StreamClient(server.url, content_type=FRAMES) as stream:
        record = frame(hidden_states=some_rows(4096, 8))
        taken = stream.send_until_held_back(record, at_most=32 << 20)
        assert len(record) * 32 < taken
        release.set()
    assert held.result()


def test_a_reader_that_never_reads_does_not_hold_the_stream_up(
    server: RunningServer, new_model: ModelFactory
) -> None:
    model = new_model()
    with StreamClient(server.url, f"/models/{model}/train-stream", receive_buffer=2048) as stream:
        stream.send(json_record(hidden_states=_ROWS[:1]) * 3000)
        while _state(server, model)[0] <= 3000:
            pass
        stream.end()
        acks = [line["ack"] for line in stream.lines()]
    assert acks[-1] == 3000
    assert acks == sorted(set(acks))


def test_refusals_that_nobody_reads_end_the_stream_instead_of_filling_the_memory(
    server: RunningServer, new_model: ModelFactory
) -> None:
    target = f"/models/{new_model()}/train-stream?on_error=skip"
    with StreamClient(server.url, target, receive_buffer=2048) as stream:
        stream.send_until_held_back(b"{}\n" * 10_000, at_most=64 << 20)
        lines = list(stream.lines())
    refused = [line["record"] for line in lines if "error" in line]
    assert lines[-1]["error"]["code"] == "errors_unread"
    assert refused == list(range(1, len(refused) + 1))


def test_streams_wait_for_a_full_queue_instead_of_being_refused(
    start_server: ServerFactory,
) -> None:
    server = start_server(train_queue=1)
    create(server, "small", declare(8, 3))
    assert _post(server, "small", _GOOD * 50)[-1]["version"] == 51


def test_two_streams_share_a_model(server: RunningServer, new_model: ModelFactory) -> None:
    target = f"/models/{new_model()}/train-stream"
    with StreamClient(server.url, target) as one, StreamClient(server.url, target) as other:
        for stream in (one, other):
            stream.send(_GOOD * 100)
            stream.end()
        ends = [list(stream.lines())[-1] for stream in (one, other)]
    assert [end["ack"] for end in ends] == [100, 100]
    assert max(end["version"] for end in ends) == 201


@pytest.mark.parametrize("query", ["", "?on_error=skip"])
def test_a_server_that_cannot_go_on_ends_the_stream_before_the_first_record_not_applied(
    server: RunningServer, new_model: ModelFactory, query: str
) -> None:
    model = new_model()
    with StreamClient(server.url, f"/models/{model}/train-stream{query}") as stream:
        stream.send(_GOOD)
        assert (stream.line() or {})["ack"] == 1
        server.service.live(model).stop_training(Unavailable("storage_failed", "the disk failed"))
        stream.send(_GOOD * 3)
        (last,) = stream.lines()
    assert (last["record"], last["error"]["code"]) == (2, "storage_failed")


def test_a_model_that_goes_away_ends_its_streams(
    server: RunningServer, new_model: ModelFactory
) -> None:
    model = new_model()
    with StreamClient(server.url, f"/models/{model}/train-stream") as stream:
        assert stream.response.status == 200
        server.http.delete(f"/models/{model}")
        stream.send(_GOOD)
        assert (stream.line() or {})["error"]["code"] == "model_not_found"


def test_what_became_of_records_is_counted(server: RunningServer, new_model: ModelFactory) -> None:
    model = new_model()
    keyed = json_record("k", hidden_states=_ROWS)
    _post(server, model, _GOOD + keyed + keyed + b"{}\n", "?on_error=skip")
    text = server.http.get("/metrics").text
    for outcome, number in (("applied", 2), ("replayed", 1), ("refused", 1)):
        name = f'slimvec_stream_records_total{{model="{model}",outcome="{outcome}"}}'
        assert f"{name} {number}.0\n" in text
    assert f'slimvec_rows_total{{model="{model}",verb="train"}} 12.0\n' in text


def test_httpx_reads_the_answer_of_a_stream_that_it_makes_up_as_it_goes(
    server: RunningServer, new_model: ModelFactory
) -> None:
    body = (json_record(hidden_states=_batch(number)) for number in range(20))
    with httpx.Client(base_url=server.url, timeout=60) as http:
        answer = http.post(
            f"/models/{new_model()}/train-stream", content=body, headers={"content-type": NDJSON}
        )
    assert json.loads(answer.content.splitlines()[-1])["ack"] == 20
