from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.streams.framing import Frames, Framing, Lines
from app.errors import Malformed, TooLarge

LIMIT = 64
FRAMINGS: dict[str, Callable[[], Framing]] = {
    "lines": lambda: Lines(LIMIT),
    "frames": lambda: Frames(LIMIT),
}

a_line = st.binary(min_size=1, max_size=LIMIT).filter(
    lambda line: b"\n" not in line and not line.isspace()
)
a_frame = st.binary(max_size=LIMIT)


def joined(form: str, records: Iterable[bytes]) -> bytes:
    if form == "lines":
        return b"".join(record + b"\n" for record in records)
    return b"".join(len(record).to_bytes(4, "little") + record for record in records)


def cut(form: str, chunks: Iterable[bytes]) -> list[bytes]:
    framing = FRAMINGS[form]()
    records = [record for chunk in chunks for record in framing.feed(chunk)]
    return records + list(framing.end())


@pytest.mark.parametrize("form", FRAMINGS)
@given(data=st.data())
def test_records_are_the_same_wherever_the_bytes_are_split(form: str, data: st.DataObject) -> None:
    records = data.draw(st.lists(a_line if form == "lines" else a_frame, max_size=8))
    whole = joined(form, records)
    places = data.draw(st.lists(st.integers(0, len(whole)), max_size=12).map(sorted))
    chunks = [whole[begin:end] for begin, end in pairwise([0, *places, len(whole)])]
    assert cut(form, chunks) == records


@pytest.mark.parametrize("form", FRAMINGS)
def test_one_byte_at_a_time_is_enough(form: str) -> None:
    records = [b"one", b"two", b"x" * LIMIT]
    assert cut(form, (bytes([byte]) for byte in joined(form, records))) == records


def test_the_last_line_needs_no_newline() -> None:
    assert cut("lines", [b"one\ntw", b"o"]) == [b"one", b"two"]


def test_an_empty_line_is_no_record() -> None:
    assert cut("lines", [b"\n\r\n \n", b"one\r\n\n", b" \t"]) == [b"one\r"]


@pytest.mark.parametrize("rest", [b"\x01", b"\x04\0\0\0", b"\x04\0\0\0abc"])
def test_a_frame_cut_short_by_the_end_is_refused(rest: bytes) -> None:
    with pytest.raises(Malformed, match="a part of one"):
        cut("frames", [joined("frames", [b"whole"]), rest])


@pytest.mark.parametrize(
    ("form", "chunks"),
    [
        ("lines", [b"x" * (LIMIT + 1)]),
        ("lines", [b"x" * LIMIT, b"x"]),
        ("lines", [b"x" * (LIMIT + 1) + b"\n"]),
        ("frames", [(LIMIT + 1).to_bytes(4, "little")]),
        ("frames", [b"\xff" * 3, b"\xff"]),
    ],
)
def test_a_record_over_the_limit_is_refused_before_it_is_whole(
    form: str, chunks: list[bytes]
) -> None:
    framing = FRAMINGS[form]()
    with pytest.raises(TooLarge, match=f"at most {LIMIT} bytes"):
        [list(framing.feed(joined(form, [b"good"]) + chunk)) for chunk in chunks]


def test_records_before_one_over_the_limit_come_out() -> None:
    records = Lines(LIMIT).feed(b"good\n" + b"x" * (LIMIT + 1))
    assert next(records) == b"good"
    with pytest.raises(TooLarge):
        next(records)


def test_many_small_records_of_a_chunk_take_no_memory_of_their_own() -> None:
    chunk = b"1\n" * 500_000
    framing = Lines(LIMIT)
    tracemalloc.start()
    try:
        assert sum(1 for _ in framing.feed(chunk)) == 500_000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * len(chunk)
