"""Recoveries that begin where few expect them to."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from app.errors import NotFound
from app.service import Service
from app.storage.repository import Repository
from app.types import Json, StateDescription
from tests.unit.service.examples import CONFIG, flip, key, learn, live_once, look, step


async def not_loaded(service: Service) -> str:
    return service.models.not_loaded["m"]


async def repair(service: Service) -> int:
    return service.repairs.repair("m").live.snapshot.stamp.version


def forge(root: Path, environment: Json | None = None, **changes: Any) -> int:
    """A row after the last one, like it but for the changes; returns its version."""
    store = Repository(root)
    *_, last = store.journal_rows("m", store.journal_begin("m"))
    row = replace(last.row, seq=last.row.seq + 1, version=last.row.version + 1)
    there = last.environment if environment is None else environment
    journal = store.open_journal("m", last.row.version, last.position, there)
    journal.append([replace(row, **changes)])
    journal.close()
    return row.version


@pytest.fixture
def crashed(tmp_path: Path) -> tuple[Path, StateDescription]:
    before = live_once(tmp_path / "first", learn, crash_to=tmp_path / "crashed")
    return tmp_path / "crashed", before


def test_changes_without_computing_are_no_reason_to_refuse_another_environment(
    tmp_path: Path,
) -> None:
    async def promote(service: Service) -> None:
        await learn(service)
        await service.controls.rollback("m", 4)
        await service.checkpoint("m")
        await service.controls.promote("m", 4)
        await service.controls.configure("m", (0.5,))

    live_once(tmp_path, promote)
    after = live_once(tmp_path, look, threads=2)
    assert (after.serving, after.version, after.learning_rate) == (4, 8, 0.5)


@pytest.mark.parametrize("kind", ["step", "serving"])
def test_a_journal_with_digests_of_another_form_is_refused_in_words(
    crashed: tuple[Path, StateDescription], kind: str
) -> None:
    root, _ = crashed
    store = Repository(root)
    *_, last = store.journal_rows("m", store.journal_begin("m"))
    older = {key: value for key, value in last.environment.items() if "digest" not in key}
    forge(root, environment=older, kind=kind)
    told = live_once(root, not_loaded)
    assert "(state_digest_form: None then, 4 now)" in told
    assert "start once as it was and stop with SIGTERM" in told


def test_a_divergent_replay_is_in_the_journal_too(
    crashed: tuple[Path, StateDescription],
) -> None:
    root, _ = crashed
    version = forge(root, state_digest="0" * 64)
    after = live_once(root, look, allow_divergent_replay=True)
    assert (after.version, after.is_divergent) == (version + 1, True)
    flip(root / "m" / str(version + 1) / "model.safetensors")
    again = live_once(root, look, allow_divergent_replay=True)
    assert again.version >= version + 1
    assert again.step == after.step


@pytest.mark.parametrize(
    "forged", [{"payload": b"nothing"}, {"version": 99}], ids=["not understood", "does not follow"]
)
def test_a_repair_never_gives_a_number_again(
    crashed: tuple[Path, StateDescription], forged: dict[str, Any]
) -> None:
    root, before = crashed
    version = forge(root, **forged)
    flip(root / "m" / "4" / "model.safetensors")
    assert "version" in live_once(root, not_loaded)
    assert live_once(root, repair) > version
    assert live_once(root, look).step == before.step


def test_a_repair_that_was_killed_halfway_is_done_again(
    crashed: tuple[Path, StateDescription], monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    root, before = crashed
    version = forge(root, state_digest="0" * 64)
    with monkeypatch.context() as patch:
        patch.setattr(Repository, "set_aside", killed)
        with pytest.raises(KeyboardInterrupt):
            live_once(root, repair)
    after = live_once(root, look)
    assert after.version > version
    assert after.step == before.step


def test_a_damaged_version_that_is_served_comes_back_from_the_journal(tmp_path: Path) -> None:
    async def promote(service: Service) -> StateDescription:
        await learn(service)
        await service.controls.promote("m", 7)
        return await service.state("m")

    before = live_once(tmp_path / "a", promote, crash_to=tmp_path / "b")
    flip(tmp_path / "b" / "m" / "7" / "model.safetensors")

    async def go_on(service: Service) -> StateDescription:
        await service.train_step("m", step(9))
        return await service.state("m")

    after = live_once(tmp_path / "b", look)
    assert (after.serving, after.state_digest) == (7, before.state_digest)
    assert live_once(tmp_path / "b", go_on).serving == 7
    assert live_once(tmp_path / "b", look).serving == 7  # it is on disk again


def test_what_is_promoted_must_be_on_disk_and_not_only_in_memory(tmp_path: Path) -> None:
    async def promote(service: Service) -> None:
        await learn(service)
        live = service.live("m")
        live.pin(live.snapshot)
        await service.train_step("m", step(9))
        with pytest.raises(NotFound, match="nearest retained: 1, 4"):
            await service.controls.promote("m", 7)

    live_once(tmp_path, promote)
    assert live_once(tmp_path, look).serving == "live"


def test_a_version_copied_under_another_number_goes_on_from_that_number(tmp_path: Path) -> None:
    live_once(tmp_path / "a", learn)
    (tmp_path / "b" / "m").mkdir(parents=True)
    shutil.copytree(tmp_path / "a" / "m" / "4", tmp_path / "b" / "m" / "20")

    async def go_on(service: Service) -> int:
        return (await service.train_step("m", step(1))).answer.version

    assert live_once(tmp_path / "b", look).version == 20
    assert live_once(tmp_path / "b", go_on) == 21


def test_versions_are_listed_though_one_is_damaged(tmp_path: Path) -> None:
    async def versions(service: Service) -> list[tuple[int, int]]:
        await learn(service)
        (tmp_path / "m" / "1" / "state.json").write_bytes(b"damaged")
        return [(version.version, version.step) for version in await service.versions("m")]

    assert live_once(tmp_path, versions) == [(1, 0), (4, 3)]


def test_who_joins_a_step_that_is_given_up_carries_it_out(tmp_path: Path) -> None:
    async def join(service: Service) -> tuple[int, bool]:
        await service.create("m", CONFIG)
        is_free = Event()
        busy = service.live("m").ask(is_free.wait)
        first = asyncio.ensure_future(service.steps.begin("m", step(0), key("k", 0)))
        await asyncio.sleep(0)
        second = asyncio.ensure_future(service.steps.join("m", step(0), key("k", 0)))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        is_free.set()
        await asyncio.wrap_future(busy)
        result = await second
        return result.answer.version, result.is_replayed

    assert live_once(tmp_path, join) == (2, False)


def test_a_served_version_that_nothing_brings_back_is_set_aside_by_a_repair(tmp_path: Path) -> None:
    async def promote(service: Service) -> None:
        await learn(service)
        await service.controls.promote("m", 4)

    live_once(tmp_path, promote)
    flip(tmp_path / "m" / "4" / "model.safetensors")
    assert "serve version 4, which cannot be read" in live_once(tmp_path, not_loaded)
    assert live_once(tmp_path, repair) == 8
    assert live_once(tmp_path, look).serving == "live"
    assert not (tmp_path / "m" / "4").exists()
