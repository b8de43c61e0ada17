from __future__ import annotations

import numpy as np
import orjson
import pytest

from app.config import parse_loss
from app.engine import Job
from app.errors import ArtifactInvalid, Malformed, Unacceptable
from app.service.keys import KeyTable, Running, Window, make_key
from app.types import Batch, Key, TrainStep

ROWS = np.arange(6, dtype=np.float32).reshape(2, 3)
STEP = TrainStep(batch=Batch(hidden_states=ROWS))
WIDE = Window(age_s=100.0, newest=2, most=4)


def table(*clocks: float, window: Window = WIDE) -> KeyTable:
    keys = KeyTable(window)
    for number, clock_s in enumerate(clocks):
        keys.remember(f"k{number}", "f", clock_s, b"{}")
    return keys


def names(keys: KeyTable) -> list[str]:
    return [orjson.loads(line)["key"] for line in keys.dump()]


def test_a_key_is_bound_to_its_sender_and_to_the_decoded_content() -> None:
    key = make_key("order-1", "alice", STEP)
    copied = TrainStep(batch=Batch(hidden_states=ROWS.copy()), if_version=7)
    assert make_key("order-1", "alice", copied) == key
    assert make_key("order-1", "bob", STEP).hash != key.hash
    assert make_key("order-2", "alice", STEP).fingerprint == key.fingerprint


@pytest.mark.parametrize(
    "other",
    [
        TrainStep(batch=Batch(hidden_states=ROWS + 1)),
        TrainStep(batch=Batch(hidden_states=ROWS.reshape(3, 2))),
        TrainStep(batch=Batch(hidden_states=ROWS, targets=ROWS)),
        TrainStep(batch=Batch(hidden_states=ROWS, sample_weights=ROWS[:, 0])),
        TrainStep(batch=Batch(hidden_states=ROWS), loss=parse_loss("mse")),
    ],
    ids=["values", "shape", "targets", "sample_weights", "loss"],
)
def test_any_other_content_has_another_fingerprint(other: TrainStep) -> None:
    assert make_key("k", "", other).fingerprint != make_key("k", "", STEP).fingerprint


@pytest.mark.parametrize("text", ["", " ", " a", "a ", "a\n", "a\x00b", "é", "a" * 256])
def test_a_key_that_is_not_printable_ascii_of_255_is_refused(text: str) -> None:
    with pytest.raises(Malformed) as refusal:
        make_key(text, "", STEP)
    assert refusal.value.code == "bad_idempotency_key"


def test_a_stored_answer_is_found_and_other_content_is_refused() -> None:
    keys = KeyTable(WIDE)
    keys.remember("h", "f", 0.0, b'{"version":2}')
    assert keys.find(Key("h", "f")) == b'{"version":2}'
    assert keys.find(Key("other", "f")) is None
    with pytest.raises(Unacceptable) as refusal:
        keys.find(Key("h", "another"))
    assert refusal.value.code == "idempotency_key_reused"


def test_a_running_request_is_found_until_it_is_answered() -> None:
    keys, job = KeyTable(WIDE), Job(STEP)
    keys.begin(Key("h", "f"), job)
    assert keys.find(Key("h", "f")) == Running("f", job)
    with pytest.raises(Unacceptable):
        keys.find(Key("h", "another"))
    job.answer.cancel()
    assert keys.find(Key("h", "f")) is None


def test_while_it_runs_its_answer_is_not_given_out_though_it_is_durable() -> None:
    keys = KeyTable(WIDE)
    keys.begin(Key("h", "f"), Job(STEP))
    keys.remember("h", "f", 0.0, b"{}")  # committed, and not published yet
    assert isinstance(keys.find(Key("h", "f")), Running)


@pytest.mark.parametrize(
    ("clocks", "kept"),
    [
        ((0.0, 1.0, 2.0, 3.0), ["k0", "k1", "k2", "k3"]),  # young, though beyond the newest
        ((0.0, 1.0, 102.0), ["k1", "k2"]),  # old and beyond the newest
        ((0.0, 500.0), ["k0", "k1"]),  # old, but among the newest
        ((0.0, 1.0, 2.0, 3.0, 4.0), ["k1", "k2", "k3", "k4"]),  # never beyond the most
    ],
)
def test_a_key_is_remembered_while_it_is_young_or_among_the_newest(
    clocks: tuple[float, ...], kept: list[str]
) -> None:
    assert names(table(*clocks)) == kept


def test_keys_survive_their_file() -> None:
    keys, again = table(0.0, 1.5), KeyTable(WIDE)
    again.load(b"".join(keys.dump()))
    assert again.dump() == keys.dump()
    assert again.find(Key("k1", "f")) == b"{}"


@pytest.mark.parametrize("lines", [b"x\n", b"{}\n", b"[]\n", b'{"key":1,"answer":2}\n'])
def test_a_file_of_other_lines_is_refused(lines: bytes) -> None:
    with pytest.raises(ArtifactInvalid):
        KeyTable(WIDE).load(lines)
