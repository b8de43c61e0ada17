"""Durable train steps without HTTP: the service in this process, its journal on the disk."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter, process_time

from app.main import build
from app.service import Service
from app.settings import Settings
from app.types import Batch, TrainStep
from benchmarks.contenders import write_model
from benchmarks.rounds import Sample
from benchmarks.work import batch

STEPS_A_SECOND = 1000  # so many are made for each second of a measurement
MODEL = "learner"

_WARM_UP_STEPS = 20


def train_sample(folder: Path, rows: int, waiting: int, seconds: float) -> Sample:
    """Train steps on a fresh model, `waiting` of them queued at once.

    Args:
        folder: where the model is made; on the disk that is measured.
        rows: of each batch.
        waiting: queued at once; the next ones when all are answered.
        seconds: decides how many there are.
    """
    with TemporaryDirectory(dir=folder) as models:
        write_model(Path(models) / MODEL / "1")
        return asyncio.run(train(Path(models), rows, waiting, _num_steps(seconds)))


def replay_sample(folder: Path, rows: int, seconds: float) -> Sample:
    """One start of a server that was killed before its first checkpoint; see `train_sample`."""
    with TemporaryDirectory(dir=folder) as models:
        write_model(Path(models) / MODEL / "1")
        left = asyncio.run(_leave_journal(Path(models), rows, _num_steps(seconds)))
        return asyncio.run(_replay(left, _num_steps(seconds)))


async def train(models: Path, rows: int, waiting: int, count: int) -> Sample:
    """About `count` train steps on the model that is there; see `train_sample`."""
    step = _step(rows)
    async with _serving(models) as service:
        await _apply(service, step, _WARM_UP_STEPS)
        durations, cpu_began = [], process_time()
        for _ in range(max(1, count // waiting)):
            began = perf_counter()
            await _apply(service, step, waiting)
            durations.append(perf_counter() - began)
        made = waiting * len(durations)
        cpu_us = (process_time() - cpu_began) / made * 1e6
    ordered = sorted(durations)
    p99_ms = ordered[round((len(ordered) - 1) * 0.99)] * 1e3
    return Sample(made / sum(durations), median(durations) * 1e3, p99_ms, cpu_us, 0.0)


async def _leave_journal(models: Path, rows: int, count: int) -> Path:
    """Train, and copy the models as a power cut would leave them: no checkpoint, all rows."""
    left, step = models / "left", _step(rows)
    async with _serving(models) as service:
        for _ in range(0, count, _WARM_UP_STEPS):
            await _apply(service, step, min(_WARM_UP_STEPS, count))
        shutil.copytree(models / MODEL, left / MODEL)
    return left


async def _replay(models: Path, count: int) -> Sample:
    began, cpu_began = perf_counter(), process_time()
    async with _serving(models) as service:
        seconds, cpu = perf_counter() - began, process_time() - cpu_began
        made = (await service.state(MODEL)).seq
    assert made >= count, "the copy holds every acknowledged step"
    return Sample(made / seconds, seconds * 1e3, seconds * 1e3, cpu / made * 1e6, 0.0)


@asynccontextmanager
async def _serving(models: Path) -> AsyncIterator[Service]:
    """The service, ready; it writes no checkpoint before its end."""
    settings = Settings(
        models_dir=models,
        default_model=MODEL,
        device="cpu",
        threads=1,
        checkpoint_every_steps=1 << 30,
        checkpoint_every_s=1e9,
        checkpoint_every_bytes=1 << 40,
    )
    assembly = build(settings)
    with assembly.resources:
        await assembly.service.start()
        try:
            yield assembly.service
        finally:
            await assembly.service.close()


def _step(rows: int) -> TrainStep:
    return TrainStep(batch=Batch(**batch(rows, with_targets=True)))


async def _apply(service: Service, step: TrainStep, count: int) -> None:
    await asyncio.gather(*(service.train_step(MODEL, step) for _ in range(count)))


def _num_steps(seconds: float) -> int:
    return max(1, round(STEPS_A_SECOND * seconds))
