"""Reduces without HTTP: the engine in this process, with so many requests in a turn of the loop."""

from __future__ import annotations

import asyncio
from statistics import median
from time import perf_counter, process_time

import numpy as np

from app.config import parse_config
from app.engine import Engine, choose_device
from app.engine.snapshot import Snapshot
from app.settings import Settings
from app.types import FloatArray
from benchmarks.rounds import Sample
from benchmarks.work import batch, model_config, weights

_WARM_UP_TURNS = 20


def turns_sample(rows: int, waiting: int, seconds: float, *, deterministic: bool = False) -> Sample:
    """Requests that are ready in the same turn, `waiting` of them, for about so many seconds.

    Args:
        rows: of each request.
        waiting: requests of one turn; the next turn begins when all are answered.
        seconds: length of the measurement.
        deterministic: as the setting.
    """
    engine = Engine(choose_device("cpu"), Settings(deterministic=deterministic))
    checkpoint = engine.initial(parse_config(model_config()), {"Q_reduced": weights()})
    snapshot = engine.snapshot("bench", checkpoint)
    parts = [np.copy(batch(rows, with_targets=False)["hidden_states"]) for _ in range(waiting)]
    try:
        return asyncio.run(_turns(engine, snapshot, parts, seconds))
    finally:
        engine.close(1)


async def _turns(
    engine: Engine, snapshot: Snapshot, parts: list[FloatArray], seconds: float
) -> Sample:
    durations: list[float] = []
    with engine.admission.admit() as ticket:

        async def ask(rows: FloatArray) -> None:
            await engine.reduce(ticket, snapshot, rows)

        async def turn() -> None:
            await asyncio.gather(*map(ask, parts))

        for _ in range(_WARM_UP_TURNS):
            await turn()
        cpu_began, until = process_time(), perf_counter() + seconds
        while (began := perf_counter()) < until or not durations:
            await turn()
            durations.append(perf_counter() - began)
        cpu_us = (process_time() - cpu_began) / (len(durations) * len(parts)) * 1e6
    ordered = sorted(durations)
    p99_ms = ordered[round((len(ordered) - 1) * 0.99)] * 1e3
    rate = len(durations) * len(parts) / sum(durations)
    return Sample(rate, median(durations) * 1e3, p99_ms, cpu_us, 0.0)
