"""How long a connection may take for what it is doing."""

from __future__ import annotations

import pytest

from app.api.protocol.limits import Limits
from app.api.protocol.pace import Pace, Phase, Unread
from app.settings import Settings

_LIMITS = Limits.of(
    Settings(header_timeout_s=10, body_idle_timeout_s=5, body_timeout_s=20, keep_alive_s=60),
    max_connections=1,
)


def _pace(phase: Phase = Phase.IDLE, *, has_asked: bool = False) -> Pace:
    pace = Pace(_LIMITS, 0.0)
    pace.has_asked = has_asked
    pace.enter(phase, 0.0)
    return pace


@pytest.mark.parametrize(
    ("phase", "has_asked", "allowed_s"),
    [
        (Phase.IDLE, False, 10),
        (Phase.IDLE, True, 60),
        (Phase.HEAD, True, 10),
        (Phase.BODY, True, 5),
        (Phase.ANSWER, True, 1e9),
        (Phase.LINGER, True, 5),
    ],
)
def test_each_wait_has_an_end(phase: Phase, has_asked: bool, allowed_s: float) -> None:
    pace = _pace(phase, has_asked=has_asked)
    assert not pace.is_over(allowed_s - 0.1)
    assert pace.is_over(allowed_s) is (phase is not Phase.ANSWER)


def test_a_body_that_goes_on_has_an_end_as_well() -> None:
    pace = _pace(Phase.BODY)
    for now in range(20):
        pace.heard = float(now)
        assert not pace.is_over(now)
    assert pace.is_over(20)


def test_bytes_do_not_prolong_a_head() -> None:
    pace = _pace(Phase.HEAD)
    pace.heard = 9.9
    assert pace.is_over(10)


@pytest.mark.parametrize("phase", [Phase.HEAD, Phase.BODY])
def test_while_the_server_holds_the_peer_back_no_time_passes_for_it(phase: Phase) -> None:
    pace = _pace(phase)
    assert not pace.is_over(4)
    for now in range(5, 1000):
        pace.hold(now)
    assert not pace.is_over(999 + 4.9)
    assert pace.is_over(999 + 6)


def test_between_two_records_a_stream_is_an_idle_connection() -> None:
    pace = _pace(Phase.BODY)
    pace.note_records(has_ended=True, has_begun=False, now=1.0)
    assert not pace.is_over(60.9)
    assert pace.is_over(61)


def test_a_record_has_the_time_of_a_body_from_its_beginning() -> None:
    pace = _pace(Phase.BODY)
    pace.note_records(has_ended=True, has_begun=False, now=1.0)
    pace.heard = 30.0
    for now in range(30, 50):
        pace.heard = float(now)
        pace.begin_hold(now)
        pace.note_records(has_ended=False, has_begun=True, now=now)
        assert not pace.is_over(now)
    assert pace.is_over(50)


def test_a_record_that_is_worked_on_has_no_deadline() -> None:
    pace = _pace(Phase.BODY)
    pace.begin_hold(0.0)
    assert not pace.is_over(1000)
    pace.note_records(has_ended=True, has_begun=True, now=1000)
    assert not pace.is_over(1004)
    assert pace.is_over(1005)


def test_a_peer_that_reads_slowly_is_not_stuck_and_one_that_reads_nothing_is() -> None:
    unread = Unread(patience_s=10)
    assert not any(unread.is_stuck(1000 - now, now) for now in range(1000))
    assert not unread.is_stuck(0, 1000)
    assert not unread.is_stuck(50, 2000)
    assert not unread.is_stuck(80, 2009)
    assert unread.is_stuck(80, 2010)
