"""Reductions that a comparison holds against each other, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from app.comparison.held_out import Vectors
from app.config import ModelConfig, parse_config
from app.registry import Registry
from app.training import Trainer
from app.types import Batch, TrainStep

_BATCH_ROWS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a reduction is made from.

    Attributes:
        learned: the rows it may look at.
        n_components: dimensions of the result.
        seed: of all randomness.
        pair_weight: of the pair loss, where there are pairs.
    """

    learned: Vectors
    n_components: int
    seed: int
    pair_weight: float


Reduction: TypeAlias = Callable[[Task], Tensor]
REDUCTIONS: Registry[Reduction] = Registry("reduction")


@REDUCTIONS.register("truncation")
def truncation(task: Task) -> Tensor:
    """The first coordinates, as `dimensions` of an embedding API keeps them."""
    return torch.eye(task.n_components, task.learned.hidden_states.shape[1])


@REDUCTIONS.register("random")
def random(task: Task) -> Tensor:
    """A random orthonormal projection."""
    return _trainer(task).serving()["Q_reduced"]


@REDUCTIONS.register("PCA")
def pca(task: Task) -> Tensor:
    """Leading eigenvectors of the uncentred second moment of all rows to learn from."""
    rows = task.learned.every.double()
    vectors: Tensor = torch.linalg.eigh(rows.mT @ rows).eigenvectors.mT
    return vectors.flip(0)[: task.n_components].float()


@REDUCTIONS.register("trained")
def trained(task: Task) -> Tensor:
    """The recipe `distil`: one pass over the rows to learn from, from a random start."""
    trainer = _trainer(task)
    positives = task.learned.positives
    # Of pairs, both count: a batch is as many vectors with them as without.
    rows = _BATCH_ROWS if positives is None else _BATCH_ROWS // 2
    for begin in range(0, len(task.learned.hidden_states), rows):
        some = slice(begin, begin + rows)
        batch = Batch(
            hidden_states=task.learned.hidden_states[some].numpy(),
            positives=None if positives is None else positives[some].numpy(),
        )
        trainer.train(TrainStep(batch=batch))
    return trainer.serving()["Q_reduced"]


def _trainer(task: Task) -> Trainer:
    return Trainer(_config(task))


def _config(task: Task) -> ModelConfig:
    return parse_config(
        {
            "input_size": task.learned.hidden_states.shape[1],
            "layers": [{"type": "QRReduction", "n_components": task.n_components}],
            "recipe": "distil",
            "distil": {"pair_weight": task.pair_weight},
            "seed": task.seed,
        }
    )
