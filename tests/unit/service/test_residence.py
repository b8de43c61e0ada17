from __future__ import annotations

import asyncio
import shutil
import sys
import threading
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.config import parse_config
from app.errors import Conflict, NotFound, SlimvecError, Unavailable
from app.service import Service
from app.service.checkpoints import Checkpoints
from app.service.quality_watch import QualityWatch
from app.settings import Settings
from app.storage.repository import Repository
from app.types import StateDescription
from tests.unit.service.examples import CONFIG, key, live_once, look, step

ROWS = step(0).batch.hidden_states
OTHER = parse_config(
    {
        "input_size": 6,
        "layers": [{"type": "QRReduction", "n_components": 3}],
        "recipe": "plain",
    }
)


async def learned(service: Service, steps: int = 3) -> StateDescription:
    await service.create("m", CONFIG)
    for seed in range(steps):
        await service.train_step("m", step(seed), key(f"k{seed}", seed))
    return await service.state("m")


def weights(n_components: int = 2) -> dict[str, Any]:
    q, _ = np.linalg.qr(np.random.default_rng(5).standard_normal((6, n_components)))
    return {"Q_reduced": np.ascontiguousarray(q.T, np.float32)}


async def code_of(awaitable: Any) -> str:
    with pytest.raises(SlimvecError) as refusal:
        await awaitable
    return refusal.value.code


def test_an_unloaded_model_answers_nothing_and_comes_back_as_it_was(tmp_path: Path) -> None:
    async def scenario(service: Service) -> None:
        before = await learned(service)
        await service.residence.unload("m")
        assert service.models.absent == {"m": "unloaded"}
        for verb in (service.reduce("m", ROWS), service.train_step("m", step(9)), look(service)):
            assert await code_of(verb) == "model_not_loaded"
        await service.residence.load("m")
        after = await service.state("m")
        assert (after.version, after.state_digest) == (before.version, before.state_digest)
        assert service.models.absent == {}

    live_once(tmp_path / "m", scenario)


def test_an_unload_writes_a_last_checkpoint(tmp_path: Path) -> None:
    async def scenario(service: Service) -> None:
        await learned(service)
        await service.residence.unload("m")

    live_once(tmp_path / "models", scenario, crash_to=tmp_path / "killed")
    assert Repository(tmp_path / "killed").versions("m") == [1, 4]


def open_files(folder: Path) -> list[str]:
    """What this process has open below a folder."""
    found = []
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the one that lists them
            found.append(str(link.readlink()))
    return [name for name in found if name.startswith(f"{folder}/")]


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_an_unloaded_model_leaves_no_thread_and_no_open_file(tmp_path: Path) -> None:
    async def scenario(service: Service) -> None:
        await learned(service)
        assert open_files(tmp_path / "models" / "m")
        await service.residence.unload("m")
        assert open_files(tmp_path / "models" / "m") == []
        assert "trainer-m" not in {thread.name for thread in threading.enumerate()}

    live_once(tmp_path / "models", scenario)


def test_keys_are_remembered_over_an_unload(tmp_path: Path) -> None:
    async def scenario(service: Service) -> tuple[bool, int]:
        await learned(service)
        await service.residence.unload("m")
        await service.residence.load("m")
        replayed = await service.train_step("m", step(2), key("k2", 2))
        return replayed.is_replayed, service.live("m").snapshot.stamp.version

    assert live_once(tmp_path / "models", scenario) == (True, 4)


def test_an_unload_is_forgotten_by_the_next_start(tmp_path: Path) -> None:
    async def scenario(service: Service) -> StateDescription:
        state = await learned(service)
        await service.residence.unload("m")
        return state

    before = live_once(tmp_path / "models", scenario)
    after = live_once(tmp_path / "models", look)
    assert after.state_digest == before.state_digest


def test_both_verbs_may_come_twice(tmp_path: Path) -> None:
    async def scenario(service: Service) -> int:
        await learned(service)
        await asyncio.gather(*(service.residence.unload("m") for _ in range(3)))
        await asyncio.gather(*(service.residence.load("m") for _ in range(3)))
        return service.live("m").snapshot.stamp.version

    assert live_once(tmp_path / "models", scenario) == 4


def test_what_is_answered_while_a_model_comes_and_goes_is_never_lost(tmp_path: Path) -> None:
    acknowledged: list[int] = []

    async def train(service: Service) -> None:
        for seed in range(40):
            try:
                answered = await service.train_step("m", step(seed))
                acknowledged.append(answered.answer.version)
            except Unavailable:
                await asyncio.sleep(0)

    async def move(service: Service) -> None:
        for _ in range(4):
            await service.residence.unload("m")
            await service.residence.load("m")

    async def scenario(service: Service) -> StateDescription:
        await service.create("m", CONFIG)
        await asyncio.gather(train(service), move(service), move(service))
        return await service.state("m")

    state = live_once(tmp_path / "models", scenario, crash_to=tmp_path / "killed")
    assert acknowledged == sorted(set(acknowledged))
    assert state.version == max(acknowledged, default=1)
    assert live_once(tmp_path / "killed", look).state_digest == state.state_digest


def test_a_model_whose_checkpoint_cannot_be_written_stays(tmp_path: Path) -> None:
    async def scenario(service: Service) -> int:
        await learned(service)
        (tmp_path / "models" / "m" / "4").touch()  # in the way of the folder of that name
        assert await code_of(service.residence.unload("m")) in ("version_exists", "storage_failed")
        (tmp_path / "models" / "m" / "4").unlink()
        return (await service.train_step("m", step(7))).answer.version

    assert live_once(tmp_path / "models", scenario) == 5


def test_an_unloaded_model_can_be_deleted_and_its_name_taken_again(tmp_path: Path) -> None:
    async def scenario(service: Service) -> None:
        await learned(service)
        await service.residence.unload("m")
        assert await code_of(service.create("m", CONFIG)) == "model_exists"
        await service.delete("m")
        assert service.models.absent == {}
        assert (await service.create("m", CONFIG)).version == 1

    live_once(tmp_path / "models", scenario)


@pytest.mark.parametrize("verb", ["load", "unload"])
def test_a_model_that_is_nowhere_can_be_neither_loaded_nor_unloaded(
    tmp_path: Path, verb: str
) -> None:
    async def scenario(service: Service) -> None:
        with pytest.raises(NotFound):
            await getattr(service.residence, verb)("m")

    live_once(tmp_path / "models", scenario)


def test_a_mended_model_is_loaded_without_a_restart(tmp_path: Path) -> None:
    live_once(tmp_path / "models", learned)
    file = tmp_path / "models" / "m" / "1" / "model.safetensors"
    newest = tmp_path / "models" / "m" / "4" / "model.safetensors"
    contents = {path: path.read_bytes() for path in (file, newest)}

    async def scenario(service: Service) -> int:
        assert await code_of(service.residence.load("m")) == "model_not_loaded"
        assert "unloaded" not in service.models.absent["m"]
        await service.residence.unload("m")  # nothing to do, and it says still what is wrong
        assert "unloaded" not in service.models.absent["m"]
        for path, content in contents.items():
            path.write_bytes(content)
        await service.residence.load("m")
        return service.live("m").snapshot.stamp.version

    for path in contents:
        path.write_bytes(b"damaged")
    assert live_once(tmp_path / "models", scenario) == 4


def test_files_make_a_model_once_and_other_weights_its_next_version(tmp_path: Path) -> None:
    async def scenario(service: Service) -> None:
        install = service.residence.install
        for _ in range(2):  # the second is the same call, sent again
            await install("n", CONFIG, weights())
        assert service.live("n").snapshot.stamp.version == 1
        await service.residence.unload("n")
        for _ in range(2):
            await install("n", CONFIG, {"weight": -weights()["Q_reduced"]})
        assert service.live("n").snapshot.stamp.version == 2
        reduced = await service.reduce("n", ROWS)
        np.testing.assert_allclose(reduced.array, -ROWS @ weights()["Q_reduced"].T, rtol=1e-5)

    live_once(tmp_path / "models", scenario)


def test_the_same_weights_sent_several_times_at_once_make_one_version(tmp_path: Path) -> None:
    async def scenario(service: Service) -> int:
        install = service.residence.install
        await install("n", CONFIG, weights())
        other = {"Q_reduced": -weights()["Q_reduced"]}
        await asyncio.gather(*(install("n", CONFIG, other) for _ in range(4)))
        return service.live("n").snapshot.stamp.version

    assert live_once(tmp_path / "models", scenario) == 2


def test_a_state_that_is_asked_for_while_a_model_goes_is_whole_or_refused(tmp_path: Path) -> None:
    async def ask(service: Service) -> str:
        try:
            return f"version {(await service.state('m')).version}"
        except SlimvecError as error:
            return error.code

    async def scenario(service: Service) -> set[str]:
        await learned(service)
        answers: set[str] = set()
        for _ in range(5):
            going = asyncio.create_task(service.residence.unload("m"))
            while not going.done():
                answers.update(await asyncio.gather(*(ask(service) for _ in range(8))))
            await service.residence.load("m")
        return answers

    expected = {"version 4", "model_not_loaded", "draining"}
    assert live_once(tmp_path / "models", scenario) <= expected


def test_a_folder_that_somebody_removed_by_hand_is_forgotten(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "m"

    async def scenario(service: Service) -> None:
        for verb in (service.residence.load, service.delete):
            await learned(service)
            await service.residence.unload("m")
            shutil.rmtree(folder)
            assert await code_of(verb("m")) == "model_not_found"
            assert service.models.absent == {}

    live_once(tmp_path / "models", scenario)


def test_a_name_that_is_free_again_is_taken_by_a_new_model(tmp_path: Path) -> None:
    async def scenario(service: Service) -> dict[str, str]:
        await learned(service)
        await service.residence.unload("m")
        shutil.rmtree(tmp_path / "models" / "m")
        await service.create("m", CONFIG)
        return service.models.absent

    assert live_once(tmp_path / "models", scenario) == {}


def test_a_name_that_is_nowhere_leaves_no_lock(tmp_path: Path) -> None:
    settings = Settings(models_dir=tmp_path)
    checkpoints = Checkpoints(Repository(tmp_path), settings, {}, QualityWatch(0))
    lock = checkpoints.paused("m")
    assert checkpoints.paused("m") is lock
    gone = weakref.ref(lock)
    del lock
    assert gone() is None


def test_a_config_makes_a_model_and_never_replaces_one(tmp_path: Path) -> None:
    async def scenario(service: Service) -> None:
        for _ in range(2):
            await service.residence.install("n", CONFIG)
        assert service.live("n").snapshot.stamp.version == 1
        with pytest.raises(Conflict):
            await service.residence.install("n", OTHER, weights(3))

    live_once(tmp_path / "models", scenario)


def test_weights_of_another_config_make_nothing(tmp_path: Path) -> None:
    async def scenario(service: Service) -> None:
        code = await code_of(service.residence.install("n", CONFIG, weights(3)))
        assert code in ("artifact_incompatible", "artifact_invalid")
        assert await code_of(service.residence.load("n")) == "model_not_found"

    live_once(tmp_path / "models", scenario)
