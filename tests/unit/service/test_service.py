from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import orjson
import pytest

from app.codecs import pack
from app.config import parse_config, parse_loss
from app.engine import Engine, choose_device
from app.errors import (
    ArtifactInvalid,
    ConfigInvalid,
    Conflict,
    NotFound,
    PreconditionFailed,
    SlimvecError,
    Unacceptable,
    Unavailable,
)
from app.service import ReduceOptions, Service
from app.service.version_files import from_files
from app.settings import Settings
from app.storage.repository import Repository
from app.types import Batch, FloatArray, TrainStep

T = TypeVar("T")

CONFIG = parse_config(
    {
        "input_size": 6,
        "layers": [{"type": "QRReduction", "n_components": 2}],
        "recipe": "plain",
    }
)
ROWS: FloatArray = np.random.default_rng(0).standard_normal((5, 6)).astype(np.float32)
JOURNAL = {"journal.mark", *(f"journal-1.sqlite3{side}" for side in ("", "-wal", "-shm"))}
STEP = TrainStep(batch=Batch(hidden_states=ROWS))


def make_service(root: Path, **settings: Any) -> Service:
    chosen = Settings(models_dir=root, **settings)
    return Service(Engine(choose_device("cpu"), chosen), Repository(root), chosen)


def run(root: Path, scenario: Callable[[Service], Awaitable[T]], **settings: Any) -> T:
    """A whole life of a service: start, scenario, orderly end."""

    async def life() -> T:
        service = make_service(root, **settings)
        await service.start()
        try:
            return await scenario(service)
        finally:
            await service.close()

    return asyncio.run(life())


async def created(service: Service) -> Service:
    await service.create("m", CONFIG)
    return service


def refusal_of(root: Path, scenario: Callable[[Service], Awaitable[Any]]) -> SlimvecError:
    async def life(service: Service) -> SlimvecError:
        await created(service)
        with pytest.raises(SlimvecError) as refusal:
            await scenario(service)
        return refusal.value

    return run(root, life)


def test_what_was_learned_is_there_after_a_restart(tmp_path: Path) -> None:
    async def learn(service: Service) -> Any:
        await created(service)
        for _ in range(3):
            await service.train_step("m", STEP)
        return await service.state("m")

    async def look(service: Service) -> Any:
        return await service.state("m")

    before, after = run(tmp_path, learn), run(tmp_path, look)
    assert (before.checkpoint, after.checkpoint) == (1, 4)
    assert (after.version, after.step, after.seq) == (4, 3, 3)
    assert after.state_digest == before.state_digest


def test_a_reduce_names_the_version_that_made_it(tmp_path: Path) -> None:
    async def scenario(service: Service) -> list[tuple[int, str]]:
        await created(service)
        stamps = [(await service.reduce("m", ROWS)).stamp]
        answer = await service.train_step("m", STEP)
        stamps.append((await service.reduce("m", ROWS)).stamp)
        assert stamps[1].digest == answer.answer.digest
        return [(stamp.version, stamp.digest) for stamp in stamps]

    (first, one), (second, two) = run(tmp_path, scenario)
    assert (first, second) == (1, 2)
    assert one != two


def test_a_retained_version_gives_the_same_bits_again(tmp_path: Path) -> None:
    async def scenario(service: Service) -> tuple[FloatArray, FloatArray]:
        await created(service)
        before = await service.reduce("m", ROWS)
        await service.train_step("m", STEP)
        after = await service.reduce("m", ROWS, ReduceOptions(version=1))
        assert after.stamp == before.stamp
        return before.array, after.array

    before, after = run(tmp_path, scenario)
    np.testing.assert_array_equal(before, after)


def test_a_version_that_is_not_retained_names_the_nearest(tmp_path: Path) -> None:
    options = ReduceOptions(version=7)
    refusal = refusal_of(tmp_path, lambda service: service.reduce("m", ROWS, options))
    assert isinstance(refusal, NotFound)
    assert refusal.detail.endswith("nearest retained: 1")


def test_require_version_never_answers_from_another_space(tmp_path: Path) -> None:
    options = ReduceOptions(require_version=2)
    refusal = refusal_of(tmp_path, lambda service: service.reduce("m", ROWS, options))
    assert isinstance(refusal, PreconditionFailed)


@pytest.mark.parametrize("scale", [1e-30, 1e-22, 1.0, 1e25, 1e36])
def test_normalize_gives_length_one_at_any_scale(tmp_path: Path, scale: float) -> None:
    async def scenario(service: Service) -> FloatArray:
        await created(service)
        rows = ROWS * np.float32(scale)
        return (await service.reduce("m", rows, ReduceOptions(normalize=True))).array

    norms = np.linalg.norm(run(tmp_path, scenario), axis=1)
    np.testing.assert_allclose(norms, 1, atol=1e-6)  # float32 rounding of a division


def test_normalize_leaves_a_zero_row_zero(tmp_path: Path) -> None:
    rows = np.vstack([ROWS[0], np.zeros(6, np.float32)])

    async def scenario(service: Service) -> FloatArray:
        await created(service)
        return (await service.reduce("m", rows, ReduceOptions(normalize=True))).array

    norms = np.linalg.norm(run(tmp_path, scenario), axis=1)
    np.testing.assert_allclose(norms, [1, 0], atol=1e-6)  # float32 rounding of a division


@pytest.mark.parametrize(
    ("rows", "code"),
    [
        (np.ones((2, 5), np.float32), "shape_mismatch"),
        (np.float32(3) * np.ones(()), "shape_mismatch"),
        (np.ones((0, 6), np.float32), "empty_batch"),
        (np.full((1, 6), np.nan, np.float32), "non_finite_input"),
        (np.full((1, 6), -np.inf, np.float32), "non_finite_input"),
        (np.full((1, 6), 3e38, np.float32), "non_finite_output"),
    ],
)
def test_reduce_refuses_with_a_code(tmp_path: Path, rows: FloatArray, code: str) -> None:
    weights = {"Q_reduced": np.ones((2, 6), np.float32)}

    async def scenario(service: Service) -> str:
        await service.upload("m", weights)
        with pytest.raises(Unacceptable) as refusal:
            await service.reduce("m", rows)
        return refusal.value.code

    assert run(tmp_path, scenario) == code


def test_the_first_bad_value_is_named_by_its_place(tmp_path: Path) -> None:
    rows = ROWS.copy()
    rows[3, 4] = np.nan
    rows[4, 0] = np.inf
    refusal = refusal_of(tmp_path, lambda service: service.reduce("m", rows))
    assert refusal.pointer == "/hidden_states/3/4"


def test_dimensions_need_a_nested_model(tmp_path: Path) -> None:
    options = ReduceOptions(dimensions=1)
    refusal = refusal_of(tmp_path, lambda service: service.reduce("m", ROWS, options))
    assert refusal.code == "dimensions_unsupported"


def test_a_nested_model_keeps_the_first_components_then_normalizes(tmp_path: Path) -> None:
    async def scenario(service: Service) -> tuple[FloatArray, FloatArray]:
        await service.create("m", CONFIG.model_copy(update={"nested": True}))
        whole = (await service.reduce("m", ROWS)).array
        options = ReduceOptions(dimensions=1, normalize=True)
        return whole, (await service.reduce("m", ROWS, options)).array

    whole, first = run(tmp_path, scenario)
    np.testing.assert_allclose(first, np.sign(whole[:, :1]), atol=1e-6)


def test_the_step_cadence_writes_checkpoints_and_retention_keeps_the_first(tmp_path: Path) -> None:
    async def scenario(service: Service) -> list[int]:
        await created(service)
        for _ in range(6):
            await service.train_step("m", STEP)
            await service.checkpoint("m")
        return [version.version for version in await service.versions("m")]

    assert run(tmp_path, scenario, retain_checkpoints=2) == [1, 6, 7]


def test_steps_older_than_the_time_cadence_are_written_by_themselves(tmp_path: Path) -> None:
    async def scenario(service: Service) -> None:
        await created(service)
        await service.train_step("m", STEP)
        while 2 not in Repository(tmp_path).versions("m"):
            await asyncio.sleep(0.05)

    run(tmp_path, scenario, checkpoint_every_s=0.01)


def test_the_cadence_outlives_a_failure_of_one_model(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(service: Service) -> None:
        await created(service)
        await service.create("n", CONFIG)
        (tmp_path / "m" / "2").touch()  # in the way of the folder of that name
        await service.train_step("m", STEP)
        while "checkpoint failed" not in caplog.text:
            await asyncio.sleep(0.05)
        await service.train_step("n", STEP)
        while 2 not in Repository(tmp_path).versions("n"):
            await asyncio.sleep(0.05)

    run(tmp_path, scenario, checkpoint_every_s=0.01)


def test_a_write_whose_caller_is_cancelled_is_completed_and_known(tmp_path: Path) -> None:
    async def scenario(service: Service) -> None:
        await created(service)
        await service.train_step("m", STEP)
        writing = asyncio.create_task(service.checkpoint("m"))
        while {path.name for path in (tmp_path / "m").iterdir()} <= {"1", *JOURNAL}:
            await asyncio.sleep(0)  # until the thread has begun to write
        writing.cancel()
        assert await service.checkpoint("m") == 2
        assert (await service.state("m")).checkpoint == 2

    run(tmp_path, scenario)


def test_a_delete_waits_for_a_checkpoint_so_that_no_folder_comes_back(tmp_path: Path) -> None:
    async def scenario(service: Service) -> list[Any]:
        outcomes: list[Any] = []
        for _ in range(10):
            await created(service)
            await service.train_step("m", STEP)
            writing = asyncio.create_task(service.checkpoint("m"))
            await asyncio.sleep(0)
            await service.delete("m")
            outcomes += await asyncio.gather(writing, return_exceptions=True)
            assert Repository(tmp_path).models() == []
        return outcomes

    for outcome in run(tmp_path, scenario):
        assert outcome == 2 or isinstance(outcome, NotFound)


def test_enough_steps_wake_the_writer(tmp_path: Path) -> None:
    async def scenario(service: Service) -> None:
        await created(service)
        for _ in range(3):
            await service.train_step("m", STEP)
        while 4 not in Repository(tmp_path).versions("m"):
            await asyncio.sleep(0.05)

    run(tmp_path, scenario, checkpoint_every_steps=3, checkpoint_every_s=3600)


def test_a_checkpoint_of_a_version_that_is_on_disk_writes_nothing(tmp_path: Path) -> None:
    async def scenario(service: Service) -> list[int]:
        await created(service)
        return [await service.checkpoint("m"), await service.checkpoint("m")]

    assert run(tmp_path, scenario) == [1, 1]
    assert Repository(tmp_path).versions("m") == [1]


def test_a_deleted_model_is_gone_from_memory_and_disk(tmp_path: Path) -> None:
    async def scenario(service: Service) -> None:
        await created(service)
        await service.delete("m")
        with pytest.raises(NotFound):
            await service.reduce("m", ROWS)

    run(tmp_path, scenario)
    assert Repository(tmp_path).models() == []


def test_steps_that_wait_for_a_deleted_model_are_told_so(tmp_path: Path) -> None:
    async def scenario(service: Service) -> list[Any]:
        await created(service)
        steps = [asyncio.create_task(service.train_step("m", STEP)) for _ in range(40)]
        await steps[0]
        await service.delete("m")
        return list(await asyncio.gather(*steps, return_exceptions=True))

    answers = run(tmp_path, scenario)
    refused = [answer for answer in answers if isinstance(answer, NotFound)]
    accepted = [done.answer.version for done in answers if not isinstance(done, Exception)]
    assert len(refused) + len(accepted) == 40
    assert refused
    assert Repository(tmp_path).models() == []


def test_a_description_does_not_wait_for_the_steps_in_the_queue(tmp_path: Path) -> None:
    async def scenario(service: Service) -> bool:
        await created(service)
        steps = [asyncio.create_task(service.train_step("m", STEP)) for _ in range(60)]
        described = await service.describe("m")
        is_early = not all(step.done() for step in steps)
        await asyncio.gather(*steps)
        assert described.step < (await service.describe("m")).step
        return is_early

    assert run(tmp_path, scenario)


def test_a_description_counts_what_the_model_did(tmp_path: Path) -> None:
    async def scenario(service: Service) -> dict[str, int]:
        await created(service)
        await service.reduce("m", ROWS)
        await service.train_step("m", STEP)
        with pytest.raises(Unacceptable):
            await service.train_step("m", TrainStep(batch=STEP.batch, loss=parse_loss("mse")))
        return (await service.describe("m")).counters

    assert run(tmp_path, scenario) == {
        "rows_reduced": 5,
        "steps_accepted": 1,
        "rows_trained": 5,
        "steps_refused": 1,
        "refused_missing_field": 1,
    }


def test_when_the_drains_time_is_over_waiting_steps_are_refused_and_the_rest_is_kept(
    tmp_path: Path,
) -> None:
    async def life() -> list[Any]:
        service = make_service(tmp_path, drain_timeout_s=1e-9)
        await service.start()
        await created(service)
        steps = [asyncio.create_task(service.train_step("m", STEP)) for _ in range(60)]
        await steps[0]
        await service.close()
        assert service.life.is_saved
        return list(await asyncio.gather(*steps, return_exceptions=True))

    answers = asyncio.run(life())
    accepted = [done.answer.version for done in answers if not isinstance(done, Exception)]
    assert len(accepted) < 60
    assert Repository(tmp_path).versions("m")[-1] == max(accepted)


def test_a_last_checkpoint_that_cannot_be_written_is_known(tmp_path: Path) -> None:
    async def scenario(service: Service) -> Service:
        await created(service)
        await service.train_step("m", STEP)
        (tmp_path / "m" / "2").touch()  # in the way of the folder of that name
        return service

    assert not run(tmp_path, scenario).life.is_saved


def test_a_taken_name_is_a_conflict(tmp_path: Path) -> None:
    refusal = refusal_of(tmp_path, lambda service: service.create("m", CONFIG))
    assert isinstance(refusal, Conflict)


def test_a_damaged_model_is_skipped_and_the_others_serve(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def make(service: Service) -> None:
        await created(service)
        await service.create("n", CONFIG)

    async def look(service: Service) -> list[str]:
        return [summary.model for summary in service.summaries()]

    async def mend(service: Service) -> int:
        with pytest.raises(Unavailable, match="'m' could not be loaded"):
            await service.reduce("m", ROWS)
        await service.delete("m")
        return (await created(service)).live("m").snapshot.stamp.version

    run(tmp_path, make)
    (tmp_path / "m" / "1" / "model.safetensors").write_bytes(b"damaged")
    assert run(tmp_path, look) == ["n"]
    assert "model not loaded" in caplog.text
    assert run(tmp_path, mend) == 1


@pytest.mark.parametrize(
    "fault",
    [
        {"model": pack({"Q_reduced": np.full((2, 6), np.nan, np.float32)}, {})},
        {"trainer": pack({}, {"version": '"one"', "step": "0"})},
        {"trainer": pack({}, {"version": "1"})},
        {"config": b"[]"},
        {"config": b"{"},
    ],
    ids=lambda fault: str(*fault),
)
def test_a_folder_made_by_hand_is_refused_whole(tmp_path: Path, fault: dict[str, bytes]) -> None:
    run(tmp_path, created)
    whole = Repository(tmp_path).read("m", 1)
    with pytest.raises((ArtifactInvalid, ConfigInvalid)):
        from_files(1, replace(whole, state={}, **fault))


def test_weights_that_began_from_a_sample_are_loaded_without_one(tmp_path: Path) -> None:
    run(tmp_path, created)
    repository = Repository(tmp_path)
    whole = repository.read("m", 1)
    config = orjson.loads(whole.config)
    config["layers"][0]["init"] = "pca"
    repository.write("n", 1, replace(whole, config=orjson.dumps(config), state={}))

    async def look(service: Service) -> FloatArray:
        return (await service.reduce("n", ROWS)).array

    assert run(tmp_path, look).shape == (5, 2)


def test_a_newest_version_damaged_after_an_orderly_end_comes_back_from_the_journal(
    tmp_path: Path,
) -> None:
    async def learn(service: Service) -> str:
        await created(service)
        await service.train_step("m", STEP)
        await service.checkpoint("m")
        await service.train_step("m", STEP)
        return (await service.describe("m")).digest

    async def look(service: Service) -> tuple[int, str]:
        stamp = (await service.reduce("m", ROWS)).stamp
        return stamp.version, stamp.digest

    learned = run(tmp_path, learn)
    (tmp_path / "m" / "3" / "model.safetensors").write_bytes(b"damaged")
    assert run(tmp_path, look) == (3, learned)
    assert Repository(tmp_path).read("m", 3).state["digest"] == learned


def test_nothing_is_accepted_before_the_start_or_after_the_signal(tmp_path: Path) -> None:
    async def scenario() -> tuple[str, str]:
        service = make_service(tmp_path)
        with pytest.raises(Unavailable) as early:
            await service.train_step("m", STEP)
        await service.start()
        await created(service)
        service.life.begin_drain()
        with pytest.raises(Unavailable) as late:
            await service.train_step("m", STEP)
        await service.reduce("m", ROWS)  # reading goes on
        await service.close()
        return early.value.code, late.value.code

    assert asyncio.run(scenario()) == ("not_ready", "draining")
