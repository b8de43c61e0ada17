"""A few thousand requests that are nearly good; `make fuzz` sends many more."""

from __future__ import annotations

import asyncio
from itertools import islice

import pytest

from tests.fuzz.http import fuzz, mutants, target
from tests.security.postcondition import assert_golden, standing

_COUNT = 2000


def test_no_mutant_hangs_or_is_the_servers_fault(caplog: pytest.LogCaptureFixture) -> None:
    with target() as server:
        names = standing(server, ("small",)).names
        tally = asyncio.run(fuzz(server.url, islice(mutants(seed=7), _COUNT)))
        answer = server.http.get("/models")
        assert [model["model"] for model in answer.json()["models"]] == list(names)
        assert_golden(server)
    assert tally.faults == []
    assert tally.sent == _COUNT
    assert {200, 400, 405, 408, 417, 422, 431} <= tally.statuses.keys()
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


def test_a_seed_gives_the_same_mutants() -> None:
    first, again = (list(islice(mutants(seed=3), 50)) for _ in range(2))
    assert first == again
