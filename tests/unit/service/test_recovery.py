"""What a service finds again after a crash: the directory is copied under its feet."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest

from app.config import parse_config
from app.engine import Engine, choose_device
from app.errors import SlimvecError, Unacceptable, Unavailable
from app.service import ReduceOptions, Service, make_key
from app.settings import Settings
from app.storage.repository import Repository
from app.types import Batch, Key, StateDescription, StepResult, TrainStep

T = TypeVar("T")
Scenario = Callable[[Service], Awaitable[T]]

CONFIG = parse_config(
    {
        "input_size": 6,
        "layers": [{"type": "QRReduction", "n_components": 2}],
        "optimizer": {"type": "Adam", "lr": 0.01},
    }
)


def step(seed: int) -> TrainStep:
    rows = np.random.default_rng(seed).standard_normal((5, 6)).astype(np.float32)
    return TrainStep(batch=Batch(hidden_states=rows))


def key(name: str, seed: int) -> Key:
    return make_key(name, "", step(seed))


def live_once(
    root: Path, scenario: Scenario[T], *, crash_to: Path | None = None, **given: Any
) -> T:
    """A life of a service; `crash_to` gets the directory as a kill would leave it."""

    async def life() -> T:
        root.mkdir(exist_ok=True)
        settings = Settings(models_dir=root, **given)
        engine = Engine(choose_device("cpu"), settings)
        service = Service(engine, Repository(root), settings)
        await service.start()
        try:
            result = await scenario(service)
            if crash_to is not None:
                shutil.copytree(root, crash_to)
            return result
        finally:
            await service.close()

    return asyncio.run(life())


async def learn(service: Service) -> StateDescription:
    """A model, three steps, a checkpoint, three more steps."""
    await service.create("m", CONFIG)
    for seed in range(3):
        await service.train_step("m", step(seed))
    await service.checkpoint("m")
    for seed in range(3, 6):
        await service.train_step("m", step(seed))
    return await service.state("m")


async def look(service: Service) -> StateDescription:
    return await service.state("m")


@pytest.fixture
def crashed(tmp_path: Path) -> tuple[Path, StateDescription]:
    before = live_once(tmp_path / "first", learn, crash_to=tmp_path / "crashed")
    return tmp_path / "crashed", before


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_every_acknowledged_step_is_there_bit_for_bit(
    crashed: tuple[Path, StateDescription],
) -> None:
    root, before = crashed
    assert before.seq == 6
    assert live_once(root, look) == before


def test_what_is_learned_afterwards_is_what_would_have_been(
    crashed: tuple[Path, StateDescription], tmp_path: Path
) -> None:
    async def go_on(service: Service) -> str:
        return (await service.train_step("m", step(9))).answer.digest

    root, _ = crashed
    assert live_once(root, go_on) == live_once(tmp_path / "first", go_on)


def test_a_damaged_newest_checkpoint_loses_nothing_and_is_set_aside(
    crashed: tuple[Path, StateDescription],
) -> None:
    root, before = crashed
    flip(root / "m" / "4" / "model.safetensors")
    after = live_once(root, look)
    assert (after.version, after.state_digest) == (before.version, before.state_digest)
    assert after.checkpoint == 1
    assert [path.name for path in (root / "m").glob(".damaged-*/4")] == ["4"]


def test_a_lost_journal_is_noticed_and_repaired_under_a_new_number(
    crashed: tuple[Path, StateDescription],
) -> None:
    async def refused(service: Service) -> str:
        with pytest.raises(Unavailable) as refusal:
            await service.state("m")
        return refusal.value.detail

    async def repair(service: Service) -> int:
        return service.models.repair("m").live.snapshot.stamp.version

    root, before = crashed
    for path in root.glob("m/journal-4*"):
        path.unlink()
    assert "slimvec repair m --recover=last-good" in live_once(root, refused)
    assert live_once(root, repair) == before.version + 1
    assert live_once(root, look).version == before.version + 1


def test_a_repair_of_a_whole_model_changes_nothing(crashed: tuple[Path, StateDescription]) -> None:
    async def repair(service: Service) -> Any:
        return service.models.repair("m")

    root, before = crashed
    recovered = live_once(root, repair)
    assert (recovered.fault, recovered.damaged) == (None, ())
    assert live_once(root, look).state_digest == before.state_digest


def test_keys_are_remembered_from_journal_and_checkpoint(tmp_path: Path) -> None:
    async def send(service: Service) -> list[StepResult]:
        results = []
        for number in range(3):
            results.append(await service.train_step("m", step(number), key(f"k{number}", number)))
            if number == 0:
                await service.checkpoint("m")
        return results

    async def first(service: Service) -> list[StepResult]:
        await service.create("m", CONFIG)
        return await send(service)

    sent = live_once(tmp_path / "a", first, crash_to=tmp_path / "b")
    for root in ("a", "b"):
        again = live_once(tmp_path / root, send)
        assert [result.is_replayed for result in again] == [True] * 3
        assert [result.body for result in again] == [result.body for result in sent]


def test_a_reused_key_is_refused_after_a_restart_too(tmp_path: Path) -> None:
    async def first(service: Service) -> None:
        await service.create("m", CONFIG)
        await service.train_step("m", step(0), key("k", 0))

    async def other_content(service: Service) -> None:
        with pytest.raises(Unacceptable, match="used for another request"):
            await service.train_step("m", step(1), key("k", 1))

    live_once(tmp_path / "a", first, crash_to=tmp_path / "b")
    live_once(tmp_path / "b", other_content)


def test_every_kind_of_change_is_recovered(tmp_path: Path) -> None:
    async def change(service: Service) -> StateDescription:
        await learn(service)
        controls, rows = service.controls, step(0).batch.hidden_states
        await controls.configure("m", (0.5,))
        await controls.rollback("m", 4)
        await service.train_step("m", step(7))
        await controls.fit("m", rows)
        await controls.replace("m", {"weight": np.eye(2, 6, dtype=np.float32)})
        await service.train_step("m", step(8))
        await controls.promote("m", 4)
        return await service.state("m")

    before = live_once(tmp_path / "a", change, crash_to=tmp_path / "b")
    assert (before.seq, before.serving) == (13, 4)
    assert live_once(tmp_path / "b", look) == before


def test_unpinned_requests_get_the_promoted_version_after_a_crash(tmp_path: Path) -> None:
    rows = step(0).batch.hidden_states

    async def promote(service: Service) -> Any:
        await learn(service)
        await service.controls.promote("m", 4)
        await service.train_step("m", step(7))
        return await service.reduce("m", rows)

    async def reduce(service: Service) -> Any:
        newest = await service.reduce("m", rows, ReduceOptions(version="live"))
        return await service.reduce("m", rows), newest.stamp.version

    before = live_once(tmp_path / "a", promote, crash_to=tmp_path / "b")
    after, newest = live_once(tmp_path / "b", reduce)
    assert (before.stamp.version, newest) == (4, 8)
    assert after.stamp == before.stamp
    np.testing.assert_array_equal(after.array, before.array)


def test_another_environment_is_refused_and_can_be_accepted(
    crashed: tuple[Path, StateDescription],
) -> None:
    async def refusal(service: Service) -> str:
        return service.models.not_loaded["m"]

    root, before = crashed
    reason = live_once(root, refusal, threads=2)
    assert "threads: 1 then, 2 now" in reason
    assert "--allow-divergent-replay" in reason
    after = live_once(root, look, threads=2, allow_divergent_replay=True)
    # Two threads may or may not give other bits for so small a batch; if so, under a new number.
    assert after.version == before.version + after.is_divergent


def test_an_orderly_end_leaves_nothing_to_replay_in_any_environment(tmp_path: Path) -> None:
    live_once(tmp_path, learn)
    assert live_once(tmp_path, look, threads=2).version == 7


def test_a_read_only_service_reads_what_was_recovered_and_learns_nothing(
    crashed: tuple[Path, StateDescription],
) -> None:
    root, before = crashed

    async def life() -> tuple[str, int]:
        settings = Settings(models_dir=root)
        engine = Engine(choose_device("cpu"), settings)
        service = Service(engine, Repository(root), settings, is_writable=False)
        await service.start()
        with pytest.raises(SlimvecError) as refusal:
            await service.train_step("m", step(0))
        reduced = await service.reduce("m", step(0).batch.hidden_states)
        await service.close()
        return refusal.value.code, reduced.stamp.version

    files = sorted(root.rglob("*"))
    assert asyncio.run(life()) == ("read_only", before.version)
    assert sorted(root.rglob("*")) == files
