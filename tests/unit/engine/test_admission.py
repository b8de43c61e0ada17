"""Admission: how many requests, and how much memory, are in flight."""

from __future__ import annotations

import pytest

from app.engine import Admission
from app.errors import QueueFull


def test_bytes_are_weighed_and_come_back() -> None:
    admission = Admission(8, 1000)
    with admission.admit(100, weight=6):
        assert (admission.in_flight, admission.num_bytes) == (1, 600)
    assert (admission.in_flight, admission.num_bytes) == (0, 0)


def test_over_the_bytes_a_request_is_refused_and_takes_nothing() -> None:
    admission = Admission(8, 1000)
    with admission.admit(600):
        with pytest.raises(QueueFull) as refused:
            admission.admit(401)
        assert (refused.value.code, refused.value.retry_after_s) == ("overloaded", 1)
        assert (admission.in_flight, admission.num_bytes) == (1, 600)
        admission.admit(400)


def test_over_the_requests_a_request_is_refused() -> None:
    admission = Admission(1, 1000)
    with admission.admit(), pytest.raises(QueueFull):
        admission.admit()
    admission.admit()


def test_one_request_alone_is_admitted_however_small_the_room() -> None:
    admission = Admission(8, 10)
    with admission.admit(1000) as ticket:
        ticket.cover(5000)
        assert admission.num_bytes == 5000
        with pytest.raises(QueueFull):
            admission.admit(1)
        admission.admit(0)


def test_a_ticket_covers_a_body_as_it_grows() -> None:
    admission = Admission(8, 1000)
    with admission.admit(100, weight=2) as ticket, admission.admit(300):
        ticket.cover(50)
        assert admission.num_bytes == 500
        ticket.cover(350)
        with pytest.raises(QueueFull):
            ticket.cover(351)
        assert admission.num_bytes == 1000
    assert admission.num_bytes == 0


def test_a_ticket_of_a_stream_shrinks_again() -> None:
    admission = Admission(8, 1000)
    with admission.admit(400, weight=2) as ticket:
        ticket.hold(100)
        assert admission.num_bytes == 200
        ticket.hold(0)
        assert admission.num_bytes == 0


def test_answers_that_wait_to_be_read_take_room() -> None:
    admission = Admission(8, 1000)
    admission.keep(900)
    with pytest.raises(QueueFull):
        admission.admit(101)
    admission.keep(-900)
    admission.admit(101)
