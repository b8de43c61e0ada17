"""Live quality: when it is taken, what that may cost, where it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.config import ModelConfig, parse_config
from app.engine import Engine, Job, LiveModel, choose_device
from app.service import Service
from app.service.quality_watch import QualityWatch
from app.settings import Settings
from app.types import QualityDescription
from tests.checks.gate import COMPONENTS, CONFIG, DOCUMENT, stream_step
from tests.unit.service.examples import live_once

PLAIN = parse_config({**DOCUMENT, "recipe": "plain", "distil": {}, "loss": "similarity"})
OBSERVING = PLAIN.model_copy(update={"observe": True})
NARROWER = parse_config(
    {**DOCUMENT, "layers": [{"type": "QRReduction", "n_components": COMPONENTS - 1}]}
)
MINUTE_S = 60.0


class Clocks:
    """The time, and what one look costs: each is asked twice, at its begin and its end."""

    def __init__(self, cost_s: float) -> None:
        self.now, self._cost_s, self._cpu_s = 0.0, cost_s, 0.0

    def time(self) -> float:
        return self.now

    def cpu(self) -> float:
        self._cpu_s += self._cost_s
        return self._cpu_s


def make_live(config: ModelConfig) -> LiveModel:
    engine = Engine(choose_device("cpu"), Settings())
    live = engine.prepare("m", engine.initial(config))
    live.start(lambda changes: None, queue_size=8, group_size=4)
    return live


@pytest.fixture
def live() -> Iterator[LiveModel]:
    live = make_live(CONFIG)
    learn(live)
    yield live
    assert live.close(timeout_s=10)


def learn(live: LiveModel) -> None:
    live.submit(Job(stream_step(live.snapshot.stamp.version))).result()


def taken(watch: QualityWatch, live: LiveModel) -> int | None:
    """The version that is known after one more try."""
    asyncio.run(watch.take(live))
    return None if live.quality is None else live.quality.version


def test_it_is_of_the_newest_version(live: LiveModel) -> None:
    assert taken(QualityWatch(MINUTE_S), live) == 2
    assert live.quality is not None
    assert live.quality.queries == 128  # all that the reservoir holds
    assert live.quality.explained_variance is not None


def test_it_waits_until_the_last_look_was_one_hundredth_of_the_time(live: LiveModel) -> None:
    clocks = Clocks(cost_s=0.5)
    watch = QualityWatch(MINUTE_S, clocks.time, clocks.cpu)
    versions = []
    for clocks.now in (0.0, 49.0, 50.0, 51.0):
        versions.append(taken(watch, live))
        learn(live)
    assert versions == [2, 2, 4, 4]


def test_a_version_that_is_known_is_not_looked_at_again(live: LiveModel) -> None:
    watch = QualityWatch(MINUTE_S)
    taken(watch, live)
    before, clocks = live.quality, Clocks(0.0)
    taken(QualityWatch(MINUTE_S, clocks.time, clocks.cpu), live)
    assert live.quality is before


def test_nothing_is_taken_where_nothing_is_remembered() -> None:
    live = make_live(PLAIN)
    learn(live)
    assert taken(QualityWatch(MINUTE_S), live) is None
    assert live.close(timeout_s=10)


def test_nothing_is_taken_of_a_model_that_is_being_closed(live: LiveModel) -> None:
    assert live.close(timeout_s=10)
    assert taken(QualityWatch(MINUTE_S), live) is None


def test_a_version_is_compared_as_it_was_taken_whatever_came_since(live: LiveModel) -> None:
    version, _ = live.checkpoint(lambda version: version).result()
    learn(live)
    found = asyncio.run(QualityWatch(MINUTE_S).compare(live, version))
    assert found is not None
    assert live.quality is not None
    assert (found.version, found.corpus_version, live.quality.version) == (2, 1, 2)


def test_what_a_comparison_costs_is_paid_for_before_the_next_look(live: LiveModel) -> None:
    clocks = Clocks(cost_s=0.5)
    watch = QualityWatch(MINUTE_S, clocks.time, clocks.cpu)
    version, _ = live.checkpoint(lambda version: version).result()
    asyncio.run(watch.compare(live, version))
    learn(live)
    versions = []
    for clocks.now in (99.0, 100.0):
        versions.append(taken(watch, live))
    assert versions == [2, 3]


def test_a_look_that_finds_too_little_is_paid_for_too() -> None:
    live, clocks = make_live(OBSERVING), Clocks(cost_s=0.5)
    watch = QualityWatch(MINUTE_S, clocks.time, clocks.cpu)
    assert taken(watch, live) is None
    learn(live)
    versions = []
    for clocks.now in (49.0, 50.0):
        versions.append(taken(watch, live))
    assert versions == [None, 2]
    assert live.close(timeout_s=10)


def test_a_look_that_fails_leaves_what_others_cost_to_be_paid(live: LiveModel) -> None:
    clocks = Clocks(cost_s=0.5)
    watch = QualityWatch(MINUTE_S, clocks.time, clocks.cpu)
    taken(watch, live)
    version, _ = live.checkpoint(lambda version: version).result()
    narrower = make_live(NARROWER)
    live.checkpointed = narrower.snapshot  # a comparison with these cannot be made
    assert asyncio.run(watch.compare(live, version)) is None
    learn(live)
    assert taken(watch, live) == 2
    assert narrower.close(timeout_s=10)


async def quality_in_time(service: Service) -> QualityDescription | None:
    await service.create("m", OBSERVING)
    await service.train_step("m", stream_step(0))
    async with asyncio.timeout(20):
        while (found := (await service.describe("m")).quality) is None:
            await asyncio.sleep(0)
    return found


def test_the_cadence_takes_it_and_a_plain_model_may_observe(tmp_path: Path) -> None:
    found = live_once(tmp_path, quality_in_time, quality_every_s=0.01)
    assert found is not None
    assert found.version == 2
    assert 0 <= found.recall10_low <= found.recall10 <= found.recall10_high <= 1


@pytest.mark.parametrize(("every_s", "is_there"), [(60.0, True), (0.0, False)])
def test_the_record_of_a_checkpoint_has_it(tmp_path: Path, every_s: float, is_there: bool) -> None:
    async def record(service: Service) -> object:
        await service.create("m", OBSERVING)
        await service.train_step("m", stream_step(0))
        await service.checkpoint("m")
        return (await service.version("m", 2)).metrics.get("quality", {}).get("version")

    assert live_once(tmp_path, record, quality_every_s=every_s) == (2 if is_there else None)
