from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from app.config import parse_config
from app.engine import Admission, Engine, Job, LiveModel, choose_device
from app.engine.multiplier import HostMultiplier
from app.errors import ConfigInvalid, Conflict, QueueFull, StartupError, Unavailable
from app.settings import Settings
from app.types import Batch, Change, ChangeAnswer, Checkpoint, FloatArray, TrainStep

CONFIG = parse_config(
    {
        "input_size": 6,
        "layers": [{"type": "QRReduction", "n_components": 2}],
        "recipe": "plain",
    }
)
ROWS = np.random.default_rng(0).standard_normal((5, 6)).astype(np.float32)


def make_engine(**settings: object) -> Engine:
    return Engine(choose_device("cpu"), Settings.model_validate(settings))


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = make_engine()
    yield engine
    engine.close(10)


def not_durable(changes: Sequence[Change]) -> None:
    """A commit into nothing."""


def begin(engine: Engine, name: str, checkpoint: Checkpoint) -> LiveModel:
    live = engine.prepare(name, checkpoint)
    engine.start(live, not_durable)
    return live


def learn(live: LiveModel) -> ChangeAnswer:
    step = TrainStep(batch=Batch(hidden_states=ROWS))
    return live.submit(Job(step)).result()


def reduce(engine: Engine, name: str, rows: FloatArray) -> FloatArray:
    async def ask() -> FloatArray:
        with engine.admission.admit() as ticket:
            product = await engine.reduce(ticket, engine.models[name].snapshot, rows)
            return product.array

    return asyncio.run(ask())


def test_a_model_wider_than_the_setting_is_refused() -> None:
    engine = make_engine(max_input_size=5)
    with pytest.raises(ConfigInvalid, match="max_input_size, got 6"):
        engine.initial(CONFIG)
    engine.close(10)


def test_a_started_model_multiplies_with_its_checkpoint(engine: Engine) -> None:
    checkpoint = engine.initial(CONFIG)
    begin(engine, "m", checkpoint)
    expected = ROWS @ checkpoint.serving["Q_reduced"].T
    np.testing.assert_allclose(reduce(engine, "m", ROWS), expected, atol=1e-6)


def test_a_large_batch_gives_the_same_as_a_small_one(engine: Engine) -> None:
    config = parse_config(
        {"input_size": 512, "layers": [{"type": "QRReduction", "n_components": 256}]}
    )
    begin(engine, "m", engine.initial(config))
    rows = np.random.default_rng(0).standard_normal((400, 512)).astype(np.float32)
    whole = reduce(engine, "m", rows)  # more multiply-adds than run on the event loop
    np.testing.assert_allclose(whole[:3], reduce(engine, "m", rows[:3]), atol=1e-4)


def test_a_snapshot_does_not_change_while_the_trainer_learns(engine: Engine) -> None:
    live = begin(engine, "m", engine.initial(CONFIG))
    first = live.snapshot
    before = HostMultiplier().multiply(first, [ROWS])
    learn(live)
    np.testing.assert_array_equal(HostMultiplier().multiply(first, [ROWS]), before)
    assert (first.stamp.version, live.snapshot.stamp.version) == (1, 2)
    assert first.stamp.digest != live.snapshot.stamp.digest


def test_a_checkpoint_is_the_published_version_and_continues(engine: Engine) -> None:
    live = begin(engine, "m", engine.initial(CONFIG))
    for _ in range(3):
        learn(live)
    taken, version = live.checkpoint(lambda version: version).result()
    checkpoint = taken.checkpoint
    again = begin(engine, "copy", checkpoint)
    assert (version, checkpoint.version) == (4, 4)
    assert checkpoint.digest == live.snapshot.stamp.digest
    assert again.snapshot.stamp.digest == checkpoint.digest
    assert learn(again).digest == learn(live).digest


def test_few_pinned_versions_stay_in_memory_and_the_least_used_goes(engine: Engine) -> None:
    checkpoint = engine.initial(CONFIG)
    live = begin(engine, "m", checkpoint)
    for version in (11, 12, 13, 14):
        live.pin(engine.snapshot("m", replace(checkpoint, version=version)))
    assert live.pinned(11) is not None  # used again, so 12 is the next to go
    live.pin(engine.snapshot("m", replace(checkpoint, version=15)))
    assert [version for version in range(11, 16) if live.pinned(version)] == [11, 13, 14, 15]


def test_given_weights_are_served_bit_for_bit(engine: Engine) -> None:
    weights = {"Q_reduced": ROWS[:2].copy()}
    checkpoint = engine.initial(CONFIG, weights)
    np.testing.assert_array_equal(checkpoint.serving["Q_reduced"], weights["Q_reduced"])


def test_weights_without_a_trainers_state_count_as_given(engine: Engine) -> None:
    layers = [{"type": "QRReduction", "n_components": 2}]
    config = parse_config({"input_size": 6, "layers": layers, "recipe": "distil"})
    made = engine.initial(config, {"Q_reduced": ROWS[:2].copy()})
    live = begin(engine, "m", replace(made, trainer=None))  # a folder of model.safetensors alone
    answer = learn(live)
    assert (getattr(answer, "update", None), answer.version, answer.digest) == (
        "none",
        2,
        made.digest,
    )


def test_a_model_that_widens_is_refused(engine: Engine) -> None:
    config = parse_config({"input_size": 2, "layers": [{"type": "QRReduction", "n_components": 3}]})
    with pytest.raises(ConfigInvalid, match="at most input_size") as refusal:
        engine.initial(config)
    assert refusal.value.pointer == "/layers/0/n_components"


def test_a_model_of_gigabytes_is_refused_before_it_is_built(engine: Engine) -> None:
    layers = [{"type": "QRReduction", "n_components": 65_536}]
    config = parse_config({"input_size": 65_536, "layers": layers})
    with pytest.raises(ConfigInvalid, match="at most 67108864 weights"):
        engine.initial(config)


def test_a_name_is_live_once(engine: Engine) -> None:
    begin(engine, "m", engine.initial(CONFIG))
    with pytest.raises(Conflict):
        begin(engine, "m", engine.initial(CONFIG))


@pytest.mark.parametrize(("dtype", "tolerance"), [("bfloat16", 0.05), ("float16", 0.005)])
def test_a_narrow_dtype_answers_float32_near_the_exact_product(
    dtype: str, tolerance: float
) -> None:
    engine = make_engine(dtype=dtype)
    checkpoint = engine.initial(CONFIG)
    begin(engine, "m", checkpoint)
    reduced = reduce(engine, "m", ROWS)
    engine.close(10)
    assert reduced.dtype == np.float32
    # 8 and 11 significant bits on values near 1
    np.testing.assert_allclose(reduced, ROWS @ checkpoint.serving["Q_reduced"].T, atol=tolerance)


def test_admission_is_bounded_and_given_back() -> None:
    admission = Admission(1, 1024)
    with admission.admit(), pytest.raises(QueueFull, match="1 requests are in flight"):
        admission.admit()
    with admission.admit():
        assert admission.in_flight == 1
    assert admission.in_flight == 0


def test_a_closed_engine_says_that_it_takes_no_large_work() -> None:
    engine = make_engine()
    engine.close(10)

    async def ask() -> object:
        return await engine.aside(lambda: 1)

    with pytest.raises(Unavailable, match="shutting down") as refusal:
        asyncio.run(ask())
    assert refusal.value.code == "draining"


def test_the_cpu_can_be_asked_for() -> None:
    assert choose_device("cpu").name == "cpu"
    assert choose_device("cpu").torch == torch.device("cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_auto_says_why_it_chose_the_cpu() -> None:
    chosen = choose_device("auto")
    assert chosen.name == "cpu"
    assert chosen.reason.startswith("auto: torch")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
@pytest.mark.parametrize("requested", ["cuda", "cuda:1"])
def test_a_device_that_is_absent_is_a_startup_error(requested: str) -> None:
    with pytest.raises(StartupError, match="--device auto") as refusal:
        choose_device(requested)
    assert refusal.value.exit_code == 2
