"""The record of a version: its own figures, and how it does in the corpus of the one before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.config import parse_config
from app.service import Service
from app.types import Json
from tests.checks.gate import DOCUMENT, stream_step
from tests.unit.service.examples import live_once

CONFIG = parse_config({**DOCUMENT, "distil": {"warm_up": 10_000}})
PLAIN = parse_config({**DOCUMENT, "recipe": "plain", "distil": {}, "loss": "similarity"})
FIGURES = {
    *("version", "corpus_version", "vectors", "queries"),
    *("cosine", "nn10", "nn10_before", "kept"),
}


async def learn(service: Service, first: int, steps: int) -> int:
    """So many steps, then a checkpoint; its number."""
    for number in range(first, first + steps):
        await service.train_step("m", stream_step(number))
    return await service.checkpoint("m")


async def records(service: Service) -> dict[int, Json]:
    return {found.version: found.metrics for found in await service.versions("m")}


async def three_checkpoints(service: Service) -> dict[int, Json]:
    await service.create("m", CONFIG)
    for first, steps in ((0, 1), (1, 4), (5, 1)):
        await learn(service, first, steps)
    return await records(service)


def test_each_checkpoint_is_held_against_the_one_before(tmp_path: Path) -> None:
    found = live_once(tmp_path, three_checkpoints)
    pairs = {v: told["compatibility"]["corpus_version"] for v, told in found.items() if told}
    assert pairs == {2: 1, 6: 2, 7: 6}
    assert set(found[7]["compatibility"]) == FIGURES
    assert found[7]["compatibility"]["version"] == 7
    assert found[7]["compatibility"]["vectors"] == 128  # all that the reservoir holds


def test_it_tells_a_corpus_that_is_good_from_one_that_is_not(tmp_path: Path) -> None:
    async def learn_and_turn(service: Service) -> tuple[Json, Json]:
        found = await three_checkpoints(service)
        (weight,) = service.live("m").snapshot.tensors.values()
        turned = {"Q_reduced": -weight.numpy()[[1, 2, 0]]}  # the same subspace, rotated
        await service.controls.replace("m", turned)
        version = await service.checkpoint("m")
        return found[7]["compatibility"], (await records(service))[version]["compatibility"]

    good, bad = live_once(tmp_path, learn_and_turn)
    assert (good["kept"], good["cosine"]) == pytest.approx((1, 1), abs=0.1)
    assert good["kept"] == pytest.approx(good["nn10"] / good["nn10_before"])
    assert (bad["kept"] < 0.3, abs(bad["cosine"]) < 0.3) == (True, True)


def test_after_a_restart_it_goes_on_from_what_is_on_disk(tmp_path: Path) -> None:
    async def begin(service: Service) -> dict[int, Json]:
        await service.create("m", CONFIG)
        await learn(service, 0, 3)
        await service.train_step("m", stream_step(3))  # for the checkpoint at the end
        return await records(service)

    async def go_on(service: Service) -> dict[int, Json]:
        before = await records(service)
        await learn(service, 4, 1)
        return {**before, **await records(service)}

    first = live_once(tmp_path, begin)
    found = live_once(tmp_path, go_on)
    assert found[4] == first[4]
    assert [found[v]["compatibility"]["corpus_version"] for v in (5, 6)] == [4, 5]


def test_after_a_crash_it_is_held_against_the_last_on_disk(tmp_path: Path) -> None:
    async def begin(service: Service) -> None:
        await service.create("m", CONFIG)
        await learn(service, 0, 2)
        await service.train_step("m", stream_step(2))

    async def go_on(service: Service) -> Any:
        assert await service.checkpoint("m") == 4  # what the replay came to
        return (await records(service))[4]["compatibility"]["corpus_version"]

    live_once(tmp_path / "first", begin, crash_to=tmp_path / "crashed")
    assert live_once(tmp_path / "crashed", go_on) == 3


@pytest.mark.parametrize(
    ("config", "every_s"), [(PLAIN, 60.0), (CONFIG, 0.0)], ids=["nothing remembered", "never"]
)
def test_there_is_none_where_nothing_is_looked_at(
    tmp_path: Path, config: Any, every_s: float
) -> None:
    async def record(service: Service) -> Json:
        await service.create("m", config)
        return (await service.version("m", await learn(service, 0, 1))).metrics

    found = live_once(tmp_path, record, quality_every_s=every_s)
    assert "compatibility" not in found


def test_a_record_holds_no_quality_of_another_version(tmp_path: Path) -> None:
    found = live_once(tmp_path, three_checkpoints)
    qualities = {v: told["quality"]["version"] for v, told in found.items() if "quality" in told}
    assert qualities
    assert all(version == of for version, of in qualities.items())


def test_a_checkpoint_that_is_there_already_is_not_its_own_corpus(tmp_path: Path) -> None:
    async def twice(service: Service) -> Json:
        await service.create("m", CONFIG)
        version = await learn(service, 0, 1)
        assert await service.checkpoint("m") == version  # it is there already
        return (await service.version("m", await learn(service, 1, 1))).metrics

    assert live_once(tmp_path, twice)["compatibility"]["corpus_version"] == 2
