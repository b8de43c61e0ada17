from __future__ import annotations

import json
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.client import Acknowledgement, Interrupted, Item, NotUnderstood, Refused, Retries, Window
from app.client.actions import (
    Answer,
    Done,
    Emit,
    Flow,
    Open,
    Pause,
    ReadLine,
    TakeBatch,
    advance,
)
from app.client.arrays import BatchLike
from app.client.verbs import OnError, Verbs
from app.errors import StepRejected, StorageFull
from app.types import Json
from tests.unit.client.peer import Peer, batches, frames, problem, refused_batch

RETRIES = Retries(total_s=30, first_s=0.001, longest_s=0.002)


def run(
    peer: Peer,
    todo: Iterable[BatchLike],
    *,
    on_error: OnError = "stop",
    window: Window | None = None,
    retries: Retries = RETRIES,
) -> list[Item]:
    peer.on_error = on_error
    flow = Verbs("small", retries).train_stream(
        loss=None, on_error=on_error, key="s", window=window or Window(records=4)
    )
    return list(peer.drive(flow, todo))


def acks(items: list[Item]) -> list[int]:
    return [item.ack for item in items if isinstance(item, Acknowledgement)]


def keys(*numbers: int) -> list[str]:
    return [f"s-{number}" for number in numbers]


def test_acknowledgements_count_the_records_of_the_whole_stream() -> None:
    peer = Peer()
    items = run(peer, batches(6))
    assert items[-1] == Acknowledgement(ack=6, version=7, loss=6.0)
    assert acks(items) == [1, 2, 3, 4, 5, 6]
    assert peer.sent == [keys(1, 2, 3, 4), keys(5, 6)]


def test_an_empty_stream_sends_nothing() -> None:
    peer = Peer()
    assert (run(peer, []), peer.sent) == ([], [])


def test_a_window_ends_with_the_record_that_passes_its_bytes() -> None:
    peer = Peer()
    run(peer, batches(3), window=Window(records=9, num_bytes=1))
    assert peer.sent == [keys(1), keys(2), keys(3)]


def test_a_batch_is_taken_only_when_it_can_be_sent() -> None:
    flow = Verbs("small", RETRIES).train_stream(
        loss=None, on_error="stop", key="s", window=Window(records=2)
    )
    step = advance(flow)
    for _ in range(2):
        assert isinstance(step, TakeBatch)
        step = advance(flow, batches(1)[0])
    assert isinstance(step, Open)


def test_after_a_break_it_resumes_with_the_first_record_not_settled() -> None:
    peer = Peer(cuts=[2])
    items = run(peer, batches(5))
    assert peer.sent == [keys(1, 2, 3, 4), keys(3, 4, 5)]
    assert acks(items) == [1, 2, 3, 4, 5]
    assert peer.applied == keys(1, 2, 3, 4, 5)


@given(
    count=st.integers(0, 12),
    records=st.integers(1, 5),
    cuts=st.lists(st.none() | st.integers(0, 5), max_size=8),
    refused=st.sets(st.integers(1, 12)),
)
def test_whatever_breaks_every_record_is_applied_once_and_in_order(
    count: int, records: int, cuts: list[int | None], refused: set[int]
) -> None:
    todo = [
        batch if number not in refused else refused_batch()
        for number, batch in enumerate(batches(count), 1)
    ]
    peer = Peer(cuts=list(cuts))
    items = run(peer, todo, on_error="skip", window=Window(records=records))
    expected = [number for number in range(1, count + 1) if number not in refused]
    assert peer.applied == keys(*expected)
    assert acks(items) == sorted(set(acks(items)))
    told = [item.record for item in items if isinstance(item, Refused)]
    assert told == sorted(refused & set(range(1, count + 1)))


def test_a_refusal_is_told_then_raised() -> None:
    peer = Peer()
    flow = Verbs("small", RETRIES).train_stream(
        loss=None, on_error="stop", key="s", window=Window(records=2)
    )
    todo = batches(3)
    todo[2] = refused_batch()
    items = peer.drive(flow, todo)
    assert [next(items) for _ in range(2)][-1] == Acknowledgement(ack=2, version=3, loss=2.0)
    refused = next(items)
    assert isinstance(refused, Refused)
    assert refused.record == 3
    with pytest.raises(StepRejected) as raised:
        next(items)
    assert raised.value is refused.error


@pytest.mark.parametrize(
    "line", ["nonsense", "[]", '{"ack": 0}', '{"ack": 9}', '{"ack": 1, "version": "?"}']
)
def test_a_line_of_another_form_ends_the_stream(line: str) -> None:
    with pytest.raises(NotUnderstood):
        _answered(line)


def test_a_full_disk_ends_the_stream_and_is_not_retried() -> None:
    with pytest.raises(StorageFull, match="it is storage_full"):
        _answered(_refusal(1, problem(507, "storage_full")))


def test_a_server_that_drains_is_waited_for() -> None:
    flow = _opened()
    assert isinstance(advance(flow, '{"ack": 1}'), Emit)
    assert isinstance(advance(flow), ReadLine)
    assert isinstance(advance(flow, _refusal(2, problem(503, "draining"))), Pause)
    assert isinstance(advance(flow), TakeBatch)
    again = advance(flow, None)
    assert isinstance(again, Open)
    assert [key for key, _ in frames(b"".join(again.request.body))] == keys(2)


def test_an_answer_that_settles_too_little_is_a_broken_one() -> None:
    flow = _opened(retries=Retries(total_s=0))
    with pytest.raises(Interrupted, match="every record to be settled"):
        advance(flow, None)


def test_waits_begin_anew_after_every_settled_record() -> None:
    peer = Peer(cuts=[1] * 20)
    run(peer, batches(24), retries=Retries(first_s=0.1, longest_s=1000))
    assert len(peer.pauses) == 20
    assert max(peer.pauses) <= 0.1


def test_it_gives_up_when_nothing_is_settled_for_too_long() -> None:
    with pytest.raises(Interrupted):
        run(Peer(cuts=[0, 0]), batches(2), retries=Retries(total_s=0))


def _opened(retries: Retries = RETRIES) -> Flow[None]:
    """A stream of two records whose answer has begun."""
    flow = Verbs("small", retries).train_stream(
        loss=None, on_error="stop", key="s", window=Window(records=2)
    )
    advance(flow)
    for batch in batches(2):
        advance(flow, batch)
    assert isinstance(advance(flow, Answer(200, {})), ReadLine)
    return flow


def _answered(line: str) -> None:
    step = advance(_opened(), line)
    assert not isinstance(step, Done | Emit)


def _refusal(record: int, document: Json) -> str:
    return json.dumps({"record": record, "error": document})
