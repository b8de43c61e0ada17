"""The service that one writes first: FastAPI, pydantic models, `torch.tensor`, `tolist`.

    python -m benchmarks.servers.naive WEIGHTS async|def

Its routes are `async def`, which run on the event loop, or `def`, which run in a thread pool, as
most tutorials have them.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Awaitable, Callable
from functools import wraps
from pathlib import Path
from typing import TypeVar

import torch
from fastapi import FastAPI
from pydantic import BaseModel
from safetensors.torch import load_file
from torch import nn

from benchmarks.servers.listen import listen
from benchmarks.work import FUSED, LEARNING_RATE

Asked = TypeVar("Asked")
Told = TypeVar("Told")


class ReduceRequest(BaseModel):
    """Rows to make smaller."""

    hidden_states: list[list[float]]


class ReduceAnswer(BaseModel):
    """The smaller rows."""

    reduced: list[list[float]]


class TrainRequest(BaseModel):
    """Rows and what they should become."""

    hidden_states: list[list[float]]
    targets: list[list[float]]


class TrainAnswer(BaseModel):
    """The loss before the update."""

    loss: float


def create_app(weights: Path, *, in_threads: bool) -> FastAPI:
    """The service around the layer of a safetensors file."""
    torch.set_num_threads(1)
    matrix = load_file(weights)["Q_reduced"]
    n_components, input_size = matrix.shape
    layer = nn.Linear(input_size, n_components, bias=False)
    layer.load_state_dict({"weight": matrix})
    learner = copy.deepcopy(layer)
    optimizer = torch.optim.Adam(learner.parameters(), lr=LEARNING_RATE, fused=FUSED)
    app = FastAPI()

    def reduce(request: ReduceRequest) -> ReduceAnswer:
        with torch.inference_mode():
            reduced = layer(torch.tensor(request.hidden_states))
        return ReduceAnswer(reduced=reduced.tolist())

    def train_step(request: TrainRequest) -> TrainAnswer:
        optimizer.zero_grad()
        reduced = learner(torch.tensor(request.hidden_states))
        loss = nn.functional.mse_loss(reduced, torch.tensor(request.targets))
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        optimizer.step()
        return TrainAnswer(loss=loss.item())

    app.post("/reduce")(reduce if in_threads else _on_the_loop(reduce))
    app.post("/train-step")(train_step if in_threads else _on_the_loop(train_step))
    return app


def _on_the_loop(route: Callable[[Asked], Told]) -> Callable[[Asked], Awaitable[Told]]:
    """The same route as `async def`."""

    @wraps(route)
    async def endpoint(request: Asked) -> Told:
        return route(request)

    return endpoint


if __name__ == "__main__":
    listen(create_app(Path(sys.argv[1]), in_threads=sys.argv[2] == "def"))
