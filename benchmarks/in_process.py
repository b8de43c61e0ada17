"""The train step without a service: what HTTP, checks and versions are added to."""

from __future__ import annotations

from statistics import median
from time import perf_counter, process_time

import torch
from torch import nn

from benchmarks.rounds import Sample
from benchmarks.work import FUSED, LEARNING_RATE, batch, weights

IN_PROCESS = "in process"

_WARM_UP_STEPS = 20
_CPU = torch.device("cpu")


class Learner:
    """A plain PyTorch loop over one batch: MSE, Adam with the contenders' flags, one thread."""

    def __init__(self, rows: int, device: torch.device = _CPU) -> None:
        torch.set_num_threads(1)
        arrays = batch(rows, with_targets=True)
        self._hidden_states = torch.from_numpy(arrays["hidden_states"]).to(device)
        self._targets = torch.from_numpy(arrays["targets"]).to(device)
        matrix = torch.from_numpy(weights())
        self._layer = nn.Linear(matrix.shape[1], matrix.shape[0], bias=False)
        self._layer.load_state_dict({"weight": matrix})
        self._layer.to(device)
        parameters = self._layer.parameters()
        self._optimizer = torch.optim.Adam(parameters, lr=LEARNING_RATE, fused=FUSED)

    def step(self) -> float:
        """The loss before this update."""
        self._optimizer.zero_grad()
        loss = nn.functional.mse_loss(self._layer(self._hidden_states), self._targets)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        self._optimizer.step()
        return loss.item()


def step_seconds(rows: int, *, seconds: float) -> list[float]:
    """How long each step took, over about that many seconds."""
    learner = Learner(rows)
    for _ in range(_WARM_UP_STEPS):
        learner.step()
    durations: list[float] = []
    until = perf_counter() + seconds
    while (began := perf_counter()) < until or not durations:
        learner.step()
        durations.append(perf_counter() - began)
    return durations


def step_sample(rows: int, seconds: float) -> Sample:
    """The same as one measurement."""
    cpu_began = process_time()
    durations = sorted(step_seconds(rows, seconds=seconds))
    cpu_us = (process_time() - cpu_began) / len(durations) * 1e6
    p99_ms = durations[round((len(durations) - 1) * 0.99)] * 1e3
    return Sample(len(durations) / sum(durations), median(durations) * 1e3, p99_ms, cpu_us, 0.0)
