"""What clients get while the gate holds the newest version back, and after a crash."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import orjson
import pytest

from app.service import ReduceOptions, Service
from app.service.inspection import changes, store_at
from app.types import GateDescription, ModelDescription, StepResult
from tests.checks.gate import (
    CALM,
    CALM_STEPS,
    CONFIG,
    MOST_STEPS,
    WIDTH,
    WILD,
    WILD_STEPS,
    stream_step,
)
from tests.unit.service.examples import live_once

ROWS = np.eye(WIDTH, dtype=np.float32)
LIVE, PASSED, NEWEST = ReduceOptions(version="live"), 11, 13


async def learn(service: Service, steps: int, rate: float = CALM) -> list[StepResult]:
    await service.controls.configure("m", (rate,))
    first = service.live("m").snapshot.stamp.version
    return [
        await service.train_step("m", stream_step(number), None)
        for number in range(first, first + steps)
    ]


async def close_gate(service: Service) -> list[StepResult]:
    """A model whose gate is closed: version PASSED is live, version NEWEST the newest."""
    await service.create("m", CONFIG)
    results = await learn(service, CALM_STEPS) + await learn(service, WILD_STEPS, WILD)
    gate = gate_of(service)
    assert (gate.is_open, gate.passed, gate.judged) == (False, PASSED, NEWEST)
    return results


async def open_gate(service: Service) -> None:
    """Go on until the newest version is no worse any more."""
    while not gate_of(service).is_open:
        assert service.live("m").snapshot.stamp.version < MOST_STEPS
        await learn(service, 1)


def gate_of(service: Service) -> GateDescription:
    gate = service.live("m").gate
    assert gate is not None
    return gate


async def reduced(service: Service, options: ReduceOptions | None = None) -> tuple[int, bytes]:
    answer = await service.reduce("m", ROWS, options or ReduceOptions())
    return answer.stamp.version, answer.array.tobytes()


async def told(service: Service) -> tuple[object, ...]:
    """Everything that the gate decides, as clients see it."""
    described = await service.describe("m")
    state = await service.state("m")
    both = [await reduced(service), await reduced(service, LIVE)]
    return described.version, described.gate, state.state_digest, both


def test_unpinned_requests_and_live_stay_at_the_version_that_passed(tmp_path: Path) -> None:
    async def scenario(service: Service) -> list[int]:
        await close_gate(service)
        asked = [None, LIVE, ReduceOptions(version=PASSED), ReduceOptions(version=NEWEST)]
        return [(await reduced(service, options))[0] for options in asked]

    assert live_once(tmp_path, scenario) == [PASSED, PASSED, PASSED, NEWEST]


def test_the_bits_are_those_that_the_version_had_when_it_was_the_newest(tmp_path: Path) -> None:
    async def scenario(service: Service) -> list[tuple[int, bytes]]:
        await service.create("m", CONFIG)
        await learn(service, CALM_STEPS)
        then = await reduced(service)
        await learn(service, WILD_STEPS, WILD)
        return [then, await reduced(service)]

    then, now = live_once(tmp_path, scenario)
    assert then == now


def test_only_answers_that_are_held_back_say_what_is_served(tmp_path: Path) -> None:
    results = live_once(tmp_path, close_gate)
    bodies = [orjson.loads(result.body) for result in results]
    assert ["serving" in body for body in bodies] == [False] * (len(bodies) - 1) + [True]
    assert (bodies[-1]["version"], bodies[-1]["serving"]) == (NEWEST, PASSED)


def test_closing_and_opening_are_said_once_each(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(service: Service) -> None:
        await close_gate(service)
        await open_gate(service)
        assert (await reduced(service))[0] == service.live("m").snapshot.stamp.version

    with caplog.at_level(logging.INFO, "slimvec.gate"):
        live_once(tmp_path, scenario)
    records = [record for record in caplog.records if record.name == "slimvec.gate"]
    assert [record.levelname for record in records] == ["WARNING", "INFO"]
    assert f"version {NEWEST} is worse than version {PASSED}" in records[0].message


@pytest.mark.parametrize("checkpointed", [False, True])
def test_after_a_crash_the_same_version_is_live(tmp_path: Path, checkpointed: bool) -> None:
    async def scenario(service: Service) -> tuple[object, ...]:
        await close_gate(service)
        if checkpointed:
            await service.checkpoint("m")
        return await told(service)

    before = live_once(tmp_path / "a", scenario, crash_to=tmp_path / "b")
    assert live_once(tmp_path / "b", told) == before


def test_a_replay_over_a_closing_and_an_opening_is_exact(tmp_path: Path) -> None:
    async def scenario(service: Service) -> tuple[object, ...]:
        await close_gate(service)
        await open_gate(service)
        return await told(service)

    before = live_once(tmp_path / "a", scenario, crash_to=tmp_path / "b")
    assert live_once(tmp_path / "b", told) == before


def test_a_model_that_ended_while_closed_goes_on_as_if_it_had_not(tmp_path: Path) -> None:
    async def scenario(service: Service) -> tuple[object, ...]:
        await learn(service, 6)
        return await told(service)

    async def at_once(service: Service) -> tuple[object, ...]:
        await close_gate(service)
        await service.checkpoint("m")
        return await scenario(service)

    live_once(tmp_path / "a", close_gate)
    assert live_once(tmp_path / "a", scenario) == live_once(tmp_path / "b", at_once)


def test_a_checkpoint_is_judged_and_the_judgement_is_in_the_journal(tmp_path: Path) -> None:
    async def scenario(service: Service) -> tuple[int | None, ModelDescription]:
        await service.create("m", CONFIG)
        await learn(service, CALM_STEPS - 1)
        before = gate_of(service).judged
        await service.checkpoint("m")
        return before, await service.describe("m")

    before, described = live_once(tmp_path, scenario)
    assert described.gate is not None
    assert (before, described.gate.judged, described.version) == (9, 10, 10)
    kinds = [entry.kind for entry in changes(store_at(tmp_path), "m")]
    assert kinds == ["config", *["step"] * (CALM_STEPS - 1), "gate"]


@pytest.mark.parametrize(
    ("calm", "wild", "what"),
    [
        (1, 0, "8 vectors are held out, and at least 32 are needed to judge"),
        (CALM_STEPS - 1, 0, "version 10 passed"),
        (CALM_STEPS, 1, "held back: version 12 is worse than version 11: nn10 fell from 0."),
    ],
)
def test_the_journal_says_what_a_look_found(
    tmp_path: Path, calm: int, wild: int, what: str
) -> None:
    async def scenario(service: Service) -> None:
        await service.create("m", CONFIG)
        await learn(service, calm)
        await learn(service, wild, WILD)
        await service.checkpoint("m")

    live_once(tmp_path, scenario)
    (look,) = (e for e in changes(store_at(tmp_path), "m") if e.kind == "gate")
    assert look.what.startswith(what)


def test_a_version_that_is_on_disk_already_is_not_judged_again(tmp_path: Path) -> None:
    async def scenario(service: Service) -> int:
        await close_gate(service)
        await service.checkpoint("m")
        await service.checkpoint("m")
        return (await service.state("m")).seq

    assert live_once(tmp_path, scenario) == 2 + CALM_STEPS + WILD_STEPS


def test_an_operator_opens_the_gate_by_serving_live(tmp_path: Path) -> None:
    async def scenario(service: Service) -> tuple[object, ...]:
        await close_gate(service)
        await service.controls.promote("m", "live")
        return await told(service)

    before = live_once(tmp_path / "a", scenario, crash_to=tmp_path / "b")
    assert before[3][0][0] == NEWEST  # type: ignore[index] # the version of an unpinned request
    assert live_once(tmp_path / "b", told) == before


def test_a_promoted_number_is_served_whatever_the_gate_says(tmp_path: Path) -> None:
    async def scenario(service: Service) -> list[int]:
        await close_gate(service)
        await service.controls.promote("m", NEWEST)
        versions = [(await reduced(service))[0], (await reduced(service, LIVE))[0]]
        await learn(service, 2, WILD)
        return [*versions, (await reduced(service))[0]]

    assert live_once(tmp_path, scenario) == [NEWEST, PASSED, NEWEST]


def test_a_version_that_live_stays_at_is_retained(tmp_path: Path) -> None:
    async def scenario(service: Service) -> list[int]:
        await service.create("m", CONFIG)
        await learn(service, CALM_STEPS)
        await service.checkpoint("m")
        for _ in range(4):
            await learn(service, WILD_STEPS, WILD)
            await service.checkpoint("m")
        return [version.version for version in await service.versions("m")]

    assert live_once(tmp_path, scenario, retain_checkpoints=2) == [1, PASSED, 17, 19]


def test_the_record_of_a_version_says_what_the_gate_found(tmp_path: Path) -> None:
    async def scenario(service: Service) -> tuple[object, object]:
        await close_gate(service)
        await service.checkpoint("m")
        record = (await service.version("m", NEWEST)).metrics["gate"]
        return record["is_open"], record["reason"]

    is_open, reason = live_once(tmp_path, scenario)
    assert is_open is False
    assert "nn10 fell" in str(reason)
