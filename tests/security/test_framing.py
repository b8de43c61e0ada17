"""Rows 1 to 30 and 96 of the bad-input catalogue, over raw sockets; nothing remains of any."""

from __future__ import annotations

import httpx
import pytest

from tests.problem import assert_canonical
from tests.security.catalogue import framing
from tests.security.catalogue.framing import Framed
from tests.security.postcondition import nothing_remains
from tests.security.wire import Wire
from tests.server import RunningServer

_ROWS = list(framing.rows())
# Those that need more than one answer to one send; each has a test of its own below.
_APART = {9, 10, 11, 12, 25, 26, 27}


@pytest.mark.parametrize("row", _ROWS, ids=lambda row: f"{row.number}-{row.name!a:.32}")
def test_bytes_are_answered_as_the_catalogue_says(
    server: RunningServer, row: Framed, caplog: pytest.LogCaptureFixture
) -> None:
    with nothing_remains(server, caplog), Wire(server) as wire:
        wire.send(row.content())
        answer = wire.receive()
        if row.closes:
            assert wire.read_to_end() == b""
            assert answer.headers["connection"] == "close"
    _assert_answer(answer, row)


def test_every_row_of_this_part_is_here() -> None:
    assert {row.number for row in _ROWS} | _APART == {*range(1, 31), 96}


def _assert_answer(answer: httpx.Response, row: Framed) -> None:
    assert answer.status_code == row.status, answer.text
    assert row.headers.items() <= dict(answer.headers).items()
    if row.code:
        assert_canonical(answer, row.status, row.code)
